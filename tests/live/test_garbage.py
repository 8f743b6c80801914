"""Full collections of garbage come in calm moments (looptime)."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from jarvis_site.garbage import Garbage

pytestmark = pytest.mark.looptime


@pytest.fixture
def collections(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """When there was a full one, in seconds since the start."""
    times: list[float] = []
    monkeypatch.setattr(gc, "collect", lambda: times.append(asyncio.get_running_loop().time()))
    yield times
    gc.unfreeze()


async def test_they_come_while_nothing_streams(collections: list[float]) -> None:
    streaming = [True]
    watch = Garbage(lambda: streaming)
    await asyncio.sleep(70)
    assert collections == [0.0]
    streaming.clear()
    await asyncio.sleep(40)
    watch.stop()
    assert collections == [0.0, 80.0, 100.0]
    await asyncio.sleep(100)
    assert len(collections) == 3


async def test_they_come_every_two_minutes_however_much_streams(collections: list[float]) -> None:
    watch = Garbage(lambda: True)
    await asyncio.sleep(250)
    watch.stop()
    assert collections == [0.0, 120.0, 240.0]


async def test_none_comes_by_itself_meanwhile(collections: list[float]) -> None:
    before = gc.get_threshold()
    watch = Garbage(lambda: True)
    assert gc.get_threshold()[:2] == before[:2]
    assert gc.get_threshold()[2] >= 1_000_000
    watch.stop()
    assert gc.get_threshold() == before
