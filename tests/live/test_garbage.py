"""Full collections of garbage come in calm moments (looptime)."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from jarvis_site import garbage
from jarvis_site.garbage import Garbage

pytestmark = pytest.mark.looptime


@pytest.fixture
def collections(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """When there was a full one, in seconds since the start."""
    times: list[int] = []
    monkeypatch.setattr(gc, "collect", lambda: times.append(round(asyncio.get_running_loop().time())))
    yield times
    gc.unfreeze()


async def test_they_come_while_nobody_is_there(collections: list[int]) -> None:
    here = [1]
    watch = Garbage(lambda: sum(here))
    await asyncio.sleep(70.5)
    assert collections == [0]
    here.clear()
    await asyncio.sleep(40)
    watch.stop()
    assert collections == [0, 71, 91]
    await asyncio.sleep(100)
    assert len(collections) == 3


async def test_they_come_every_two_minutes_however_many_are_there(collections: list[int]) -> None:
    watch = Garbage(lambda: 20)
    await asyncio.sleep(250)
    watch.stop()
    assert collections == [0, 120, 240]


async def test_none_comes_by_itself_meanwhile(collections: list[int]) -> None:
    before = gc.get_threshold()
    watch = Garbage(lambda: 1)
    assert gc.get_threshold()[0] == garbage._YOUNG, "the batches of a tick are more than Python's 700 objects"
    assert min(gc.get_threshold()[1:]) >= 1_000_000, "what was looked through once waits for a calm moment"
    watch.stop()
    assert gc.get_threshold() == before
