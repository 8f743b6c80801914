"""The wall clock jumps; nothing that matters is measured with it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.faults.conftest import up
from tests.faults.root import FAKETIME, needs_faketime
from tests.faults.scene import Scenes


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """The file that says how far the servers' wall clock is from the true one."""
    path = tmp_path / "clock"
    path.write_text("+0")
    return path


@pytest.fixture
def adrift(endpoint: str, clock: Path) -> Iterator[Cluster]:
    """Processes on one SQLite file whose wall clock is what `clock` says."""
    faked = {
        "LD_PRELOAD": str(FAKETIME[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with Cluster(CHAT_PROVIDER_URL=endpoint, CHAT_UPKEEP_SECONDS="0.5") as cluster:
        cluster.serve("a", "b", runner="serve", **faked)
        yield cluster


@needs_faketime
async def test_f18_clock_jump(adrift: Cluster, clock: Path, scenes: Scenes) -> None:
    """An hour back, a month on, in mid-stream: nobody is taken for dead, and nothing is out of order or forgotten."""
    a, b = await up(adrift, "a", "b")
    earlier, scene = await scenes.begin(adrift, a), await scenes.begin(adrift, a)
    kept = await earlier.ask(a, "scripted:?tokens=20&rate=100", key="kept")
    viewers = [await scene.watch(a), await scene.watch(b)]
    stream = await scene.ask(a, "scripted:?tokens=100000&rate=50")
    for jump in ["-1h", "+1d", scenes.chance.choice(["-1d", "+0"]), "+30d"]:
        batches = len(viewers[0].of(stream, "chat.token")) + scenes.chance.randint(2, 20)
        await viewers[0].tokens_of(stream, batches)
        await asyncio.to_thread(clock.write_text, jump)
    since = viewers[1].events[-1].at
    await viewers[1].until(lambda viewer: viewer.events[-1].at > since + 7)  # longer than leases stand still
    assert await scene.client.at(b).stop(scene.session)
    assert (await scene.end()).data["reason"] == "stopped"
    await scene.ask(b, "scripted:?tokens=20&rate=100")
    assert (await scene.end()).data["reason"] == "completed"
    await scene.verdict(a)
    assert await earlier.ask(b, "scripted:?tokens=20&rate=100", key="kept") == kept
    for name in "ab":
        assert await adrift.log_lines(name, "process_lost") == []
        assert await adrift.log_lines(name, "lease_lost") == []
    days = {line[:13] for line in await adrift.log_lines("a", "flush_done")}
    assert len(days) > 2, "the clock did jump"
