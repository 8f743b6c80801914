"""Redis cuts its connections, goes away and comes back empty, or answers nobody."""

import asyncio
from itertools import pairwise

import redis

from tests.cluster.client import Viewer
from tests.cluster.cluster import Cluster
from tests.faults.conftest import up
from tests.faults.scene import Scene, Scenes
from tests.live.server import Server
from tests.scrape import scrape
from tests.services import RedisServer

LONG = "scripted:?tokens=100000&rate=60"
AWAY_SECONDS = 15.0
STALL_SECONDS = 5.0


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


def largest_gap(viewer: Viewer, since: float) -> float:
    times = [since, *(seen.at for seen in viewer.events if seen.at > since)]
    return max(after - before for before, after in pairwise(times))


async def seen_after(viewer: Viewer, at: float) -> None:
    """Returns when the viewer has been given an event later than that monotonic time."""
    await viewer.until(lambda viewer: viewer.events[-1].at > at, 30)


async def live_again(viewer: Viewer, timeout_seconds: float) -> None:
    """A second of a stream that comes as it is made, not in lumps of two seconds."""

    def smooth(viewer: Viewer) -> bool:
        recent = [seen.at for seen in viewer.events[-9:]]
        return all(after - before < 0.6 for before, after in pairwise(recent))

    now = len(viewer.events)
    await viewer.until(lambda viewer: len(viewer.events) > now + 9 and smooth(viewer), timeout_seconds)


async def layer_errors(server: Server) -> float:
    return (await scrape(server.url))("jarvis_layer_errors_total")


async def late(*servers: Server) -> list[float]:
    """How often the loop of each process was more than 250 ms late, by its own account."""
    return [(await scrape(server.url)).late("0.25") for server in servers]


async def test_f06_redis_blip(grown: Cluster, scenes: Scenes, redis_server: RedisServer) -> None:
    """All its connections are cut three times in a stream."""
    all_scenes, _, b = await watched(scenes, grown)
    other = all_scenes[-1].viewers[1]
    for _ in range(3):
        cut = await asyncio.to_thread(cut_connections, redis_server)
        since = other.events[-1].at
        assert cut > 0
        await seen_after(other, since + 2 + scenes.chance.random())
        assert largest_gap(other, since) < 3
    await finished(all_scenes, b)


def cut_connections(redis_server: RedisServer) -> int:
    """How many there were."""
    with redis.Redis.from_url(redis_server.url) as connection:
        connections: int = connection.client_kill_filter(_type="pubsub", skipme=True)
        connections += connection.client_kill_filter(_type="normal", skipme=True)
    return connections


async def test_f07_redis_gone(grown: Cluster, scenes: Scenes, redis_server: RedisServer) -> None:
    """It is killed, and comes back empty after 15 s: viewers are late meanwhile, not wrong."""
    all_scenes, a, b = await watched(scenes, grown)
    other = all_scenes[-1].viewers[1]
    since, late_before, errors_before = other.events[-1].at, await late(a, b), await layer_errors(a)
    await asyncio.to_thread(redis_server.kill)
    try:
        slowest = asyncio.create_task(slowest_answer(all_scenes[0], a, other, since + AWAY_SECONDS))
        await seen_after(other, since + AWAY_SECONDS)
        assert largest_gap(other, since) < 3.5
        assert await slowest < 1
        assert await layer_errors(a) > errors_before
    finally:
        await asyncio.to_thread(redis_server.start)
    await live_again(other, 8)
    assert await late(a, b) == late_before
    await finished(all_scenes, b)


async def slowest_answer(scene: Scene, server: Server, viewer: Viewer, until: float) -> float:
    """Seconds that the process, whose loop serves it, took for what needs neither database nor Redis."""
    loop = asyncio.get_running_loop()
    slowest = 0.0
    while viewer.events[-1].at < until:
        asked = loop.time()
        await scene.client.at(server).send("GET", "/healthz")
        slowest = max(slowest, loop.time() - asked)
        await asyncio.sleep(0.02)
    return slowest


async def test_f08_redis_stall(grown: Cluster, scenes: Scenes, redis_server: RedisServer) -> None:
    """It is stopped for 5 s, its connections open: nobody waits for it, and `/readyz` says so."""
    all_scenes, a, b = await watched(scenes, grown)
    other = all_scenes[-1].viewers[1]
    since, late_before = other.events[-1].at, await late(a, b)
    await asyncio.to_thread(redis_server.pause)
    try:
        slowest = asyncio.create_task(slowest_answer(all_scenes[0], a, other, since + STALL_SECONDS))
        await seen_after(other, since + STALL_SECONDS)
        ready = await all_scenes[0].client.at(a).send("GET", "/readyz")
        assert (ready.status, ready.data["status"]) == (200, "degraded")
        assert largest_gap(other, since) < 3.5
        assert await slowest < 1
    finally:
        await asyncio.to_thread(redis_server.resume)
    await live_again(other, 8)
    assert await late(a, b) == late_before
    await finished(all_scenes, b)
