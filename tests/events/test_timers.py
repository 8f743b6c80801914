"""One timer of the loop's for many, on a clock that jumps (looptime)."""

import asyncio
from unittest.mock import patch

import pytest

from events.core.pace import USUAL_TICKS, Pace
from events.timers import Timers

pytestmark = pytest.mark.looptime


async def test_who_wait_for_the_same_moment_share_one_timer() -> None:
    loop, timers = asyncio.get_running_loop(), Timers(Pace(0.075, 0.2))
    at, called = loop.time() + 1, []
    with patch.object(loop, "call_at", wraps=loop.call_at) as call_at:
        for number in range(50):
            timers.call_at(at, lambda moment, number=number: called.append((number, moment)))  # type: ignore[misc]
        assert timers.waiting == 1
        await asyncio.sleep(1.5)
    assert called == [(number, at) for number in range(50)]
    assert [call.args[0] for call in call_at.call_args_list if call.args[0] == at] == [at]
    assert timers.waiting == 0


async def test_the_pace_goes_by_how_late_they_come() -> None:
    loop, pace = asyncio.get_running_loop(), Pace(0.075, 0.2)
    timers = Timers(pace)
    for late_seconds in (0.0, *[0.05] * 20):
        at = loop.time() + 0.1
        timers.call_at(at, lambda moment: None)
        with patch.object(loop, "time", lambda at=at, late=late_seconds: at + late):
            timers._call(at)
        await asyncio.sleep(0.1)
    assert pace.ticks > USUAL_TICKS


async def test_who_begin_to_speak_are_counted_and_judged_at_once() -> None:
    timers = Timers(pace := Pace(0.075, 0.2))
    pace.streams = 2_000
    timers.one_begins(asyncio.get_running_loop().time())
    assert pace.begun == 1
    assert pace.interval_seconds == pytest.approx(0.2)
