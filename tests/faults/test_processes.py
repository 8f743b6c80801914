"""Processes that are killed, restarted one after the other, or frozen."""

import asyncio
import time

import psycopg

from tests.cluster.cluster import Cluster
from tests.faults.conftest import logged_since, up
from tests.faults.scene import Scenes
from tests.services import PostgresServer

LONG = "scripted:?tokens=100000&rate=100"
SHORT = "scripted:?tokens=20&rate=200"
WORKER_LOST_SECONDS = 10.0
FROZEN_SECONDS = 20.0
CLEANED = {  # what the end of a process with ten streams writes, and how often
    "event_buffers_cleaned": 10,
    "stream_end": 10,
    "events_bus_closed": 1,
    "server_stopped": 1,
}


async def test_f03_worker_kill(either: Cluster, scenes: Scenes) -> None:
    """SIGKILL at a chosen seq of three streams: what was seen stays, and everybody hears of the end in time."""
    mortal, b = await up(either, "mortal", "b")
    all_scenes = [await scenes.begin(either, b) for _ in range(3)]
    told_before = len(await either.log_lines("mortal", "stream_start"))
    for scene in all_scenes:
        await scene.watch(b)
        await scene.watch(mortal, b)
        await scene.ask(mortal, LONG)
    seq = scenes.chance.randint(1, 30)
    await all_scenes[0].viewers[1].until(lambda viewer: (viewer.cursor or 0) >= seq)
    await logged_since(either, "mortal", "stream_start", told_before + len(all_scenes) - 1)  # lines that wait die, too
    either.kill("mortal")
    killed = time.monotonic()
    for scene in all_scenes:
        end = await scene.end(WORKER_LOST_SECONDS + 5)
        assert (end.type, end.data["code"], end.data["retryable"]) == ("chat.error", "worker_lost", True)
        assert end.at - killed < WORKER_LOST_SECONDS, "every viewer knows in time"
        await scene.ask(b, SHORT)
        assert (await scene.end()).data["reason"] == "completed"
        await scene.verdict(b)


async def test_f04_rolling_restart(grown: Cluster, scenes: Scenes) -> None:
    """SIGTERM with ten streams and half a request open, while another process serves."""
    leaving, b = await up(grown, "leaving", "b")
    all_scenes = [await scenes.begin(grown, b) for _ in range(10)]
    _, writer = await asyncio.open_connection("127.0.0.1", leaving.port)
    scenes.stack.callback(writer.close)
    writer.write(b"POST /api/sessions/ HTTP/1.1\r\nHost: localhost\r\n")
    before = await counted(grown, "leaving", *CLEANED)
    finishing = scenes.chance.randint(1, 9)
    for number, scene in enumerate(all_scenes):
        await scene.watch(leaving, b)
        await scene.ask(leaving, "scripted:?tokens=60&rate=60" if number < finishing else LONG)
    await all_scenes[-1].viewers[0].tokens_of(all_scenes[-1].streams[0], 2)
    started = time.monotonic()
    assert await grown.drain("leaving") == 0
    assert time.monotonic() - started < 10
    for number, scene in enumerate(all_scenes):
        assert (await scene.end()).data["reason"] == ("completed" if number < finishing else "shutdown")
        await scene.ask(b, SHORT)
        await scene.end()
        assert scene.viewers[0].breaks == []
        await scene.verdict(b)
    cleaned = await counted(grown, "leaving", *CLEANED)
    assert {line: cleaned[line] - before[line] for line in CLEANED} == CLEANED


async def counted(cluster: Cluster, name: str, *events: str) -> dict[str, int]:
    """How many lines of each event the log of this process has, which may have lived before."""
    return {event: len(await cluster.log_lines(name, event)) for event in events}


async def test_f05_worker_freeze_in_a_transaction(
    grown: Cluster, scenes: Scenes, postgres_server: PostgresServer
) -> None:
    """A process that falls asleep with rows locked holds up nobody for longer than its death takes to be noticed."""
    sleeper, b = await up(grown, "sleeper", "b")
    scene = await scenes.begin(grown, b)
    await scene.watch(b)
    await scene.ask(sleeper, LONG)
    await scene.viewers[0].tokens_of(scene.streams[0], scenes.chance.randint(1, 5))
    try:
        async with asyncio.timeout(60):
            grown.freeze("sleeper")
            while not await asyncio.to_thread(holds_locks, postgres_server):
                grown.thaw("sleeper")
                await asyncio.sleep(scenes.chance.uniform(0, 0.02))  # to meet it elsewhere
                grown.freeze("sleeper")
        end = await scene.viewers[0].end_of(scene.streams[0], WORKER_LOST_SECONDS + 5)
        assert end.data["code"] == "worker_lost"
        await scene.ask(b, SHORT)
        assert (await scene.end()).data["reason"] == "completed"
    finally:
        grown.thaw("sleeper")
    await scene.ask(sleeper, SHORT)
    assert (await scene.end()).data["reason"] == "completed"
    await scene.verdict(sleeper)


def holds_locks(postgres_server: PostgresServer) -> bool:
    """Whether a transaction stays open and has written: it is that of the frozen process.

    Between two statements or, worse, within one that PostgreSQL has only a part of.
    """
    query = """
        SELECT pid, xact_start FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event = 'ClientRead' AND backend_xid IS NOT NULL
    """
    with psycopg.connect(postgres_server.url("faults"), autocommit=True) as connection:
        if not (before := connection.execute(query).fetchall()):
            return False
        time.sleep(0.2)
        return any(each in before for each in connection.execute(query).fetchall())


async def test_f05_worker_freeze(grown: Cluster, scenes: Scenes) -> None:
    """A process sleeps for 20 s, while another ends its streams; on waking up it is refused, and serves on."""
    sleeper, b = await up(grown, "sleeper", "b")
    all_scenes = [await scenes.begin(grown, b) for _ in range(3)]
    for scene in all_scenes:
        await scene.watch(b)
        await scene.watch(sleeper)
        await scene.ask(sleeper, LONG)
    seq = scenes.chance.randint(4, 25)
    await all_scenes[0].viewers[0].until(lambda viewer: (viewer.cursor or 0) >= seq)
    fenced = len(await grown.log_lines("sleeper", "stream_fenced"))
    grown.freeze("sleeper")
    frozen = time.monotonic()
    try:
        for scene in all_scenes:
            end = await scene.viewers[0].end_of(scene.streams[0], WORKER_LOST_SECONDS + 5)
            assert end.data["code"] == "worker_lost"
            await scene.ask(b, LONG)  # it is under way when the sleeper wakes up in the middle of another one
        for scene in all_scenes:
            await scene.viewers[0].until(lambda viewer: viewer.events[-1].at > frozen + FROZEN_SECONDS, 30)
    finally:
        grown.thaw("sleeper")
    await until_fenced(grown, fenced + 3)
    for scene in all_scenes:
        assert await scene.client.at(b).stop(scene.session)
        assert (await scene.end()).data["reason"] == "stopped"
        await scene.ask(sleeper, SHORT)
        assert (await scene.end()).data["reason"] == "completed"
        await scene.verdict(sleeper)


async def until_fenced(cluster: Cluster, count: int) -> None:
    """The woken writer has been refused so often."""
    async with asyncio.timeout(15):
        while len(await cluster.log_lines("sleeper", "stream_fenced")) < count:  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.05)
