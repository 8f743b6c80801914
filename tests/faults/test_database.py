"""PostgreSQL is frozen, or goes away at the worst moment."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from jarvis_site.patience import BEYOND_GRACE_SECONDS
from tests.cluster.cluster import Cluster
from tests.faults.conftest import up
from tests.faults.database_link import DatabaseLink
from tests.faults.scene import Scene, Scenes
from tests.live.server import Server
from tests.services import PostgresServer, RedisServer

TIMEOUT_SECONDS = 3.0
LONG = "scripted:?tokens=100000&rate=100"
SHORT = "scripted:?tokens=20&rate=100"


@pytest.fixture
def frozen(postgres_server: PostgresServer, redis_server: RedisServer, endpoint: str) -> Iterator[Cluster]:
    """A cluster whose PostgreSQL may be frozen."""
    with Cluster(
        database_url=postgres_server.url("frozen"),
        redis_url=redis_server.url,
        CHAT_PROVIDER_URL=endpoint,
        EVENTS_STORAGE_TIMEOUT_SECONDS=str(TIMEOUT_SECONDS),
        SHUTDOWN_GRACE_SECONDS="3",
    ) as cluster:
        yield cluster


async def test_f10_a_frozen_database(frozen: Cluster, postgres_server: PostgresServer, scenes: Scenes) -> None:
    """It takes connections and answers none: streams end in time, the process answers, and all comes back by itself."""
    [a] = await up(frozen, "a")
    streaming = [await scenes.begin(frozen, a) for _ in range(3)]
    for scene in streaming:
        await scene.watch(a)
        await scene.ask(a, LONG)
    await streaming[-1].viewers[0].tokens_of(streaming[-1].streams[0], scenes.chance.randint(1, 10))
    await asyncio.sleep(scenes.chance.uniform(0, 0.1))  # to meet it within a commit, or between two
    await asyncio.to_thread(postgres_server.pause)
    try:
        since = time.monotonic()
        for scene in streaming:
            await told(scene, TIMEOUT_SECONDS + 3)
        assert (await streaming[0].client.at(a).send("GET", "/healthz")).status == 200
        refused = await streaming[0].client.at(a).prompt(streaming[0].session, SHORT)
        assert refused.status == 503, refused
        assert time.monotonic() - since < 3 * TIMEOUT_SECONDS + 12
    finally:
        await asyncio.to_thread(postgres_server.resume)
    for scene in streaming:
        await completes(scene, a)
        await scene.verdict(a)


async def test_f10_a_frozen_database_at_the_end(
    frozen: Cluster, postgres_server: PostgresServer, scenes: Scenes
) -> None:
    """A process whose threads all wait for it still ends in time."""
    [a] = await up(frozen, "a")
    scene = await scenes.begin(frozen, a)
    viewer = await scene.watch(a)
    await viewer.tokens_of(await scene.ask(a, LONG), 2)
    await asyncio.to_thread(postgres_server.pause)
    try:
        waiting = [asyncio.create_task(scene.client.at(a).session(scene.session)) for _ in range(8)]
        started = time.monotonic()
        assert await frozen.drain("a") == 0
        assert time.monotonic() - started < 3 + BEYOND_GRACE_SECONDS
        await asyncio.gather(*waiting, return_exceptions=True)
    finally:
        await asyncio.to_thread(postgres_server.resume)
    ends = ["server_drain_timeout", "events_bus_closed", "server_stopped"]  # the close has a time of its own
    lines = [line for name in ends for line in await frozen.log_lines("a", name)]
    assert len(lines) == 3
    assert lines == sorted(lines)


@pytest.fixture
async def linked(
    postgres_server: PostgresServer, redis_server: RedisServer, endpoint: str
) -> AsyncIterator[tuple[Cluster, DatabaseLink]]:
    """A cluster, and the link by which it reaches its database."""
    url = await asyncio.to_thread(postgres_server.url, "linked")
    async with DatabaseLink(postgres_server.port) as link:
        cluster = await asyncio.to_thread(
            Cluster,
            database_url=url.replace(f":{postgres_server.port}/", f":{link.port}/"),
            redis_url=redis_server.url,
            CHAT_PROVIDER_URL=endpoint,
            EVENTS_STORAGE_TIMEOUT_SECONDS=str(TIMEOUT_SECONDS),
        )
        await asyncio.to_thread(cluster.__enter__)
        try:
            yield cluster, link
        finally:
            await asyncio.to_thread(cluster.__exit__)


async def test_f10_a_commit_unanswered(linked: tuple[Cluster, DatabaseLink], scenes: Scenes) -> None:
    """A batch is committed, the answer lost, and the database away for longer than is waited for: it is stored once."""
    cluster, link = linked
    [a] = await up(cluster, "a")
    scene = await scenes.begin(cluster, a)
    viewer = await scene.watch(a)
    stream = await scene.ask(a, LONG)
    await viewer.tokens_of(stream, scenes.chance.randint(1, 10))
    async with link.commit_unanswered():
        await told(scene, TIMEOUT_SECONDS + 3)
        await cluster.until_logged("a", "commit_outcome_unknown")
    await completes(scene, a)
    assert "status=committed" in (await cluster.log_lines("a", "commit_outcome"))[0]
    await scene.verdict(a)


async def told(scene: Scene, seconds: float) -> None:
    """Its viewers have been told that the running stream cannot be stored."""
    for viewer in scene.viewers:
        await viewer.until(lambda viewer: viewer.of(scene.streams[-1], "chat.error"), seconds)
        assert viewer.of(scene.streams[-1], "chat.error")[0].data["code"] == "storage_error"


async def completes(scene: Scene, server: Server) -> None:
    """Another prompt is answered, as soon as it is taken."""
    async with asyncio.timeout(20):
        while (answer := await scene.client.at(server).prompt(scene.session, SHORT)).status == 503:  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.2)
    scene.streams.append(answer.data["stream_id"])
    assert (await scene.end()).data["reason"] == "completed"
