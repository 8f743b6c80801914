"""The database is locked by another process, or its disk is full."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.client import Client
from tests.cluster.cluster import Cluster
from tests.faults.conftest import up
from tests.faults.endpoint import records, until_asked
from tests.faults.root import fill, needs_root, small_disk
from tests.faults.scene import Scenes

LOCKED_SECONDS = 8.0  # SQLite gives up after 5
FLOOD_TOKENS, FLOOD_DELAY_SECONDS = 3000, 1  # 15 MB of text in three seconds, once the lock is held
FLOOD = f"scripted:?tokens={FLOOD_TOKENS}&rate=1000&corpus=hostile&first_delay={FLOOD_DELAY_SECONDS}"


@asynccontextmanager
async def locked(database: Path) -> AsyncIterator[None]:
    """Another process, as far as the servers can tell, holds the one write lock."""
    release, held = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold() -> None:
        connection = sqlite3.connect(database, isolation_level=None, timeout=10)
        connection.execute("BEGIN IMMEDIATE")
        loop.call_soon_threadsafe(held.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(30)
        connection.execute("ROLLBACK")
        connection.close()

    holding = loop.create_task(asyncio.to_thread(hold))
    await held.wait()
    try:
        yield
    finally:
        release.set()
        await holding


async def visit(url: str) -> tuple[int, str | None]:
    """A browser's first visit, for which a row is written: status and `Retry-After`."""
    async with aiohttp.ClientSession() as http, http.get(url) as page:
        return page.status, page.headers.get("Retry-After")


async def test_f10_database_lock(small: Cluster, scenes: Scenes) -> None:
    """It delays everybody, and loses, refuses and kills nothing; the loop never waits for it."""
    a, b = await up(small, "a", "b")
    dead = sum([len(await small.log_lines(name, "process_lost")) for name in "ab"])
    busy, waiting = [await scenes.begin(small, a) for _ in range(2)]
    viewer = await busy.watch(a)
    await waiting.watch(b)
    await busy.ask(a, "scripted:?tokens=100000&rate=50")
    await viewer.tokens_of(busy.streams[0], scenes.chance.randint(1, 10))
    async with locked(small.folder / "shared.sqlite3"):
        asked = asyncio.create_task(waiting.ask(a, "scripted:?tokens=20&rate=100"))
        made = [asyncio.create_task(busy.client.at(a).send("POST", "/api/sessions/", {})) for _ in range(4)]
        visits = [asyncio.create_task(visit(a.url)) for _ in range(3)]
        until, slowest = time.monotonic() + LOCKED_SECONDS, 0.0
        while (started := time.monotonic()) < until:
            assert (await busy.client.at(a).send("GET", "/healthz")).status == 200
            slowest = max(slowest, time.monotonic() - started)
            await asyncio.sleep(0.02)
        seen = len(viewer.events)
    released = time.monotonic()
    await viewer.until(lambda viewer: len(viewer.events) > seen)
    assert time.monotonic() - released < 2, "who only waited for the lock goes on as soon as it is free"
    assert slowest < 1
    await asked
    assert (await waiting.end()).data["reason"] == "completed"
    assert {answer.status for answer in await asyncio.gather(*made)} <= {201, 503}
    assert {*await asyncio.gather(*visits)} <= {(200, None), (503, "2")}
    await busy.client.at(a).stop(busy.session)
    assert (await busy.end()).data["reason"] == "stopped"
    await busy.verdict(a)
    await waiting.verdict(b)
    assert sum([len(await small.log_lines(name, "process_lost")) for name in "ab"]) == dead
    assert not await small.log_lines("a", "request_failed")


async def test_f10_text_that_waits_slows_the_model(small: Cluster, endpoint: str, scenes: Scenes) -> None:
    """While nothing can be stored no more than the bound is read: the endpoint is stuck with most of its answer."""
    [a] = await up(small, "a")
    scene = await scenes.begin(small, a)
    viewer = await scene.watch(a)
    prompt = f"{FLOOD}&salt={scenes.chance.randrange(10**9)}"
    stream = await scene.ask(a, prompt)
    async with locked(small.folder / "shared.sqlite3"):
        record = await all_due(scene.client, endpoint, prompt)
        assert viewer.text(stream) == "", "it was locked before the first token came"
        assert record["tokens_sent"] < FLOOD_TOKENS / 2, "the kernel's buffers take some"
    await viewer.tokens_of(stream)
    assert await scene.client.at(a).stop(scene.session)
    assert (await scene.end()).data["reason"] == "stopped"
    await scene.verdict(a)


async def all_due(client: Client, endpoint: str, prompt: str) -> dict[str, Any]:
    """What the endpoint has recorded when it should have sent its whole answer."""
    await until_asked(client, endpoint, prompt)
    while True:
        [record] = await records(client, endpoint, prompt)
        if time.monotonic() > record["accepted_at"] + FLOOD_DELAY_SECONDS + FLOOD_TOKENS / 1000 + 0.5:
            return record
        await asyncio.sleep(0.1)


@pytest.fixture
def cramped(endpoint: str) -> Iterator[Cluster]:
    """Process `a`, whose data directory is on a disk of 4 MB."""
    with (
        small_disk("4m") as folder,
        Cluster(folder=folder, CHAT_PROVIDER_URL=endpoint, EVENTS_STORAGE_TIMEOUT_SECONDS="1.5") as cluster,
    ):
        cluster.serve("a")
        yield cluster


@needs_root
async def test_f11_disk_full(cramped: Cluster, scenes: Scenes) -> None:
    """The disk fills in mid-stream: `storage_error`, and with the space everything comes back by itself."""
    a = cramped["a"]
    scene = await scenes.begin(cramped, a)
    viewer = await scene.watch(a)
    stream = await scene.ask(a, "scripted:?tokens=100000&rate=100")
    await viewer.tokens_of(stream, scenes.chance.randint(1, 10))
    filler = cramped.folder / "filler"
    await asyncio.to_thread(fill, filler)
    await viewer.until(lambda viewer: viewer.of(stream, "chat.error"), 20)
    assert viewer.of(stream, "chat.error")[0].data["code"] == "storage_error"
    assert (await scene.client.at(a).send("GET", "/healthz")).status == 200
    refused = await scene.client.at(a).prompt(scene.session, "scripted:?tokens=20&rate=100")
    assert refused.status == 503, refused
    await asyncio.to_thread(filler.unlink)
    async with asyncio.timeout(15):
        while (answer := await scene.client.at(a).prompt(scene.session, "scripted:?tokens=20&rate=100")).status == 503:
            pass
    scene.streams.append(answer.data["stream_id"])
    assert (await scene.end()).data["reason"] == "completed"
    await scene.verdict(a)
    assert await asyncio.to_thread(integrity, cramped.folder / "shared.sqlite3") == "ok"


def integrity(database: Path) -> str:
    connection = sqlite3.connect(database)
    found = str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    connection.close()
    return found
