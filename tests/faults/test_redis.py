"""Redis cuts its connections, goes away and comes back empty, or answers nobody."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import redis

from tests.cluster.client import Viewer
from tests.cluster.cluster import Cluster
from tests.faults.conftest import up
from tests.faults.recorded import late_loops
from tests.faults.scene import Scene, Scenes
from tests.live.server import Server
from tests.scrape import scrape
from tests.services import RedisServer

LONG = "scripted:?tokens=100000&rate=60"
THROUGHOUT = "scripted:?tokens=1500&rate=60"  # 25 s: begins before, and ends after Redis is away
AWAY_SECONDS = 15.0
STALL_SECONDS = 5.0
FILLED_SECONDS, LATE_SECONDS, LIVE_SECONDS = 2.0, 3.0, 5.0
BUSY_SECONDS = 1.0  # what a machine with more to do than this test may add to each
LAG_SECONDS = 0.25


async def watched(scenes: Scenes, cluster: Cluster) -> tuple[list[Scene], Server, Server]:
    """Two streams, each with a viewer here and one there."""
    a, b = await up(cluster, "a", "b")
    all_scenes = [await scenes.begin(cluster, a) for _ in range(2)]
    for scene in all_scenes:
        await scene.watch(a)
        other = await scene.watch(b)
        await scene.ask(a, LONG)
        await other.tokens_of(scene.streams[0], scenes.chance.randint(2, 6))
    return all_scenes, a, b


async def finished(all_scenes: list[Scene], server: Server) -> None:
    for scene in all_scenes:
        assert await scene.client.at(server).stop(scene.session)
        assert (await scene.end()).data["reason"] == "stopped"
        await scene.verdict(server)


def viewers_of(all_scenes: list[Scene]) -> list[Viewer]:
    return [viewer for scene in all_scenes for viewer in scene.viewers]


def largest_gap(viewers: list[Viewer], since: float) -> float:
    """The longest that any of them waited for its next event, from that monotonic time on."""
    times = [[since, *(seen.at for seen in viewer.events if seen.at > since)] for viewer in viewers]
    return max(after - before for each in times for before, after in pairwise(each))


async def seen_after(viewers: list[Viewer], at: float) -> None:
    """Returns when each of them has been given an event later than that monotonic time."""
    for viewer in viewers:
        await viewer.until(lambda viewer: viewer.events[-1].at > at, 30)


async def live_since(viewer: Viewer) -> float:
    """When events began again to come as they are made, not in lumps of two seconds: in monotonic time."""
    now = len(viewer.events)

    def smooth(viewer: Viewer) -> bool:
        recent = [seen.at for seen in viewer.events[now:][-10:]]
        return len(recent) == 10 and all(after - before < 0.6 for before, after in pairwise(recent))

    await viewer.until(smooth, 20)
    return viewer.events[-10].at


async def all_live(viewers: list[Viewer], returned: float) -> None:
    began = await asyncio.gather(*(live_since(viewer) for viewer in viewers))
    assert max(began) - returned < LIVE_SECONDS + BUSY_SECONDS


async def layer_errors(server: Server) -> float:
    return (await scrape(server.url))("jarvis_layer_errors_total")


async def late(*servers: Server, than_seconds: float = BUSY_SECONDS) -> float:
    """How often the loops of these processes were later, by their own account."""
    return sum([(await scrape(server.url)).late(str(than_seconds)) for server in servers])


@asynccontextmanager
async def late_loops_counted(scenes: Scenes, *servers: Server) -> AsyncIterator[None]:
    """Over 250 ms, which a busy machine may cause as well: shown at the end of the run."""
    before = await late(*servers, than_seconds=LAG_SECONDS)
    yield
    late_loops[scenes.fault] += round(await late(*servers, than_seconds=LAG_SECONDS) - before)


async def test_f06_redis_blip(grown: Cluster, scenes: Scenes, redis_server: RedisServer) -> None:
    """All its connections are cut three times in a stream."""
    all_scenes, _, b = await watched(scenes, grown)
    viewers = viewers_of(all_scenes)
    for _ in range(3):
        since = time.monotonic()
        assert await asyncio.to_thread(cut_connections, redis_server) > 0
        await seen_after(viewers, since + 2 + scenes.chance.random())
        assert largest_gap(viewers, since) < FILLED_SECONDS + BUSY_SECONDS
    await finished(all_scenes, b)


def cut_connections(redis_server: RedisServer) -> int:
    """How many there were."""
    with redis.Redis.from_url(redis_server.url) as connection:
        connections: int = connection.client_kill_filter(_type="pubsub", skipme=True)
        connections += connection.client_kill_filter(_type="normal", skipme=True)
    return connections


async def test_f07_redis_gone(grown: Cluster, scenes: Scenes, redis_server: RedisServer) -> None:
    """It is killed, and comes back empty after 15 s: viewers are late meanwhile, not wrong, and streams complete."""
    all_scenes, a, b = await watched(scenes, grown)
    await scenes.stack.enter_async_context(late_loops_counted(scenes, a, b))
    whole = await throughout(scenes, grown, a, b)
    viewers = viewers_of([*all_scenes, whole])
    late_before, errors_before, since = await late(a, b), await layer_errors(a), time.monotonic()
    await asyncio.to_thread(redis_server.kill)
    try:
        slowest = asyncio.create_task(slowest_answer(all_scenes[0], a, since + AWAY_SECONDS))
        await seen_after(viewers, since + AWAY_SECONDS)
        assert largest_gap(viewers, since) < LATE_SECONDS + BUSY_SECONDS
        assert await slowest < BUSY_SECONDS
        assert await layer_errors(a) > errors_before
        assert not whole.viewers[0].ends(whole.streams[0]), "it spans the whole time that Redis is away"
    finally:
        await asyncio.to_thread(redis_server.start)
    await all_live(viewers_of(all_scenes), time.monotonic())
    assert await late(a, b) == late_before
    assert (await whole.end(30)).data["reason"] == "completed"
    await whole.verdict(b)
    await finished(all_scenes, b)


async def throughout(scenes: Scenes, cluster: Cluster, a: Server, b: Server) -> Scene:
    """A stream that is to end by itself, with a viewer here and one there."""
    scene = await scenes.begin(cluster, a)
    for server in (a, b):
        await scene.watch(server)
    await scene.ask(a, THROUGHOUT)
    await scene.viewers[1].tokens_of(scene.streams[0], 1)
    return scene


async def slowest_answer(scene: Scene, server: Server, until: float) -> float:
    """Seconds that the process, whose loop serves it, took for what needs neither database nor Redis."""
    loop = asyncio.get_running_loop()
    slowest = 0.0
    while loop.time() < until:
        asked = loop.time()
        await scene.client.at(server).send("GET", "/healthz")
        slowest = max(slowest, loop.time() - asked)
        await asyncio.sleep(0.02)
    return slowest


async def test_f08_redis_stall(grown: Cluster, scenes: Scenes, redis_server: RedisServer) -> None:
    """It is stopped for 5 s, its connections open: nobody waits for it, and `/readyz` says so."""
    all_scenes, a, b = await watched(scenes, grown)
    await scenes.stack.enter_async_context(late_loops_counted(scenes, a, b))
    viewers = viewers_of(all_scenes)
    late_before, since = await late(a, b), time.monotonic()
    await asyncio.to_thread(redis_server.pause)
    try:
        slowest = asyncio.create_task(slowest_answer(all_scenes[0], a, since + STALL_SECONDS))
        await seen_after(viewers, since + STALL_SECONDS)
        ready = await all_scenes[0].client.at(a).send("GET", "/readyz")
        assert (ready.status, ready.data["status"]) == (200, "degraded")
        assert largest_gap(viewers, since) < LATE_SECONDS + BUSY_SECONDS
        assert await slowest < BUSY_SECONDS
    finally:
        await asyncio.to_thread(redis_server.resume)
    await all_live(viewers, time.monotonic())
    assert await late(a, b) == late_before
    await finished(all_scenes, b)
