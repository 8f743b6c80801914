"""What the server has for an application comes in order, to one reader, and is not lost with a reader that leaves."""

import asyncio

import pytest

from jarvis_site.messages import Messages


async def test_they_come_in_order_whether_they_wait_or_are_waited_for() -> None:
    messages = Messages()
    messages.put_nowait({"number": 1})
    messages.put_nowait({"number": 2})
    assert [await messages.get(), await messages.get()] == [{"number": 1}, {"number": 2}]
    reading = asyncio.ensure_future(messages.get())
    await asyncio.sleep(0)
    assert not reading.done()
    messages.put_nowait({"number": 3})
    messages.put_nowait({"number": 4})
    assert [await reading, await messages.get()] == [{"number": 3}, {"number": 4}]


async def test_a_reader_that_is_cancelled_takes_none() -> None:
    messages = Messages()
    reading = asyncio.ensure_future(messages.get())
    await asyncio.sleep(0)
    messages.put_nowait({"number": 1})
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert await messages.get() == {"number": 1}


async def test_a_second_reader_is_told_that_there_is_one() -> None:
    messages = Messages()
    reading = asyncio.ensure_future(messages.get())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="already"):
        await messages.get()
    messages.put_nowait({"number": 1})
    assert await reading == {"number": 1}
