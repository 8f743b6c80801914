import asyncio

import pytest

from events.ended import one_ended


async def fails() -> None:
    raise ValueError


@pytest.mark.parametrize("how", ["returns", "fails", "is cancelled"])
async def test_the_first_end_is_told_however_it_came(how: str) -> None:
    lasting = asyncio.ensure_future(asyncio.Event().wait())
    ending = asyncio.ensure_future(fails() if how == "fails" else asyncio.sleep(0 if how == "returns" else 3600))
    waiting = one_ended(lasting, ending)
    if how == "is cancelled":
        await asyncio.sleep(0)
        assert not waiting.done()
        ending.cancel()
    await waiting
    assert ending.done()
    assert (ending.cancelled(), lasting.done()) == (how == "is cancelled", False)
    if how == "fails":
        assert isinstance(ending.exception(), ValueError)
    lasting.cancel()


async def test_a_task_that_has_ended_is_told_of() -> None:
    ended = asyncio.ensure_future(asyncio.sleep(0))
    await ended
    await one_ended(ended)


async def test_who_waits_may_be_cancelled_and_the_task_goes_on() -> None:
    lasting = asyncio.ensure_future(asyncio.sleep(0.01, "whole"))

    async def wait() -> None:
        await one_ended(lasting)

    waiting = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await lasting == "whole"
