"""What a publisher's task sleeps by, on a clock that jumps (looptime)."""

import asyncio
from unittest.mock import patch

import pytest

from events.alarm import Alarm, Timers

pytestmark = pytest.mark.looptime


async def test_who_sleep_until_the_same_moment_share_one_timer() -> None:
    loop, timers = asyncio.get_running_loop(), Timers()
    at = loop.time() + 1
    with patch.object(loop, "call_at", wraps=loop.call_at) as call_at:
        sleepers = [asyncio.create_task(Alarm(timers).sleep(at)) for _ in range(50)]
        await asyncio.gather(*sleepers)
    assert loop.time() == pytest.approx(at)
    assert [call.args[0] for call in call_at.call_args_list] == [at]
    assert timers.waiting == 0


async def test_a_time_that_was_set_for_an_earlier_sleep_wakes_no_later_one() -> None:
    loop = asyncio.get_running_loop()
    alarm, began = Alarm(Timers()), loop.time()
    first = asyncio.create_task(alarm.sleep(began + 1))
    await asyncio.sleep(0.5)
    alarm.ring()
    assert await first is None
    assert loop.time() == pytest.approx(began + 0.5)
    await alarm.sleep(began + 3)
    assert loop.time() == pytest.approx(began + 3)


async def test_a_time_may_be_set_while_somebody_sleeps_without_one() -> None:
    loop = asyncio.get_running_loop()
    alarm, began = Alarm(Timers()), loop.time()
    assert not alarm.unset
    sleeper = asyncio.create_task(alarm.sleep(None))
    await asyncio.sleep(0)
    assert alarm.unset
    alarm.set(began + 2)
    assert not alarm.unset
    assert await sleeper == pytest.approx(0.0), "by how much it is late"
    assert loop.time() == pytest.approx(began + 2)
