"""Another process holds the database's one write lock for longer than any query waits: nothing is lost or refused."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.client import Viewer
from tests.live.site import SHORT, Site

LOCKED_SECONDS = 6.0  # SQLite gives up after 5


@asynccontextmanager
async def locked(site: Site) -> AsyncIterator[None]:
    release, held = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold() -> None:
        with site.database() as database:
            database.execute("BEGIN IMMEDIATE")
            loop.call_soon_threadsafe(held.set)
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result(30)
            database.execute("ROLLBACK")

    holding = loop.create_task(asyncio.to_thread(hold))
    await held.wait()
    try:
        yield
    finally:
        release.set()
        await holding


async def test_a_locked_database_delays_and_loses_nothing(site: Site) -> None:
    async with site.client() as client:
        busy, waiting = await client.new_session(), await client.new_session()
        answer = await client.ask(busy, "scripted:?tokens=600&rate=50").until_text()
        viewer = await client.follow(busy, 0).until(lambda viewer: viewer.history)
        async with locked(site):
            asked: Viewer = client.ask(waiting, SHORT)
            made = [asyncio.ensure_future(client.send("POST", "/api/sessions/", {})) for _ in range(8)]
            until, slowest = time.monotonic() + LOCKED_SECONDS, 0.0
            while (started := time.monotonic()) < until:
                assert (await client.send("GET", "/healthz")).status == 200
                slowest = max(slowest, time.monotonic() - started)
            assert answer.error is None
            seen = len(answer.history)
        released = time.monotonic()
        await answer.until(lambda viewer: len(viewer.history) > seen)
        assert time.monotonic() - released < 2, "who only waited for the lock goes on as soon as it is free"
        assert slowest < 1, "the loop never waits for the database"
        assert await asked.until_end() == "completed"
        assert {reply.status for reply in await asyncio.gather(*made)} <= {201, 503}
        await client.stop(busy)
        assert await answer.until_end() == "stopped"
        await viewer.until_end()
        assert viewer.history.problems() == []
        assert viewer.text == answer.text == (await client.answer_of(busy, answer.stream_id))["text"]
    lines = await site.lines("request_failed", "lease_lost", "process_lost")
    assert lines == [], "no defect, and nobody was taken for dead"


async def test_slow_requests_of_others_do_not_delay_the_viewers(site: Site) -> None:
    """Many readers of long sessions keep all database threads busy, while tokens go on."""
    async with site.client() as client:
        long = await client.new_session()
        for _ in range(3):
            await client.ask(long, "scripted:?tokens=10000").until_end()
        answer = await client.ask(await client.new_session(), "scripted:?tokens=150&rate=50&corpus=timed").until_text()
        while not answer.history.end_of(answer.stream_id):
            await asyncio.gather(*(client.session(long) for _ in range(8)))
        assert await answer.until_end() == "completed"
        assert sorted(answer.ages)[len(answer.ages) * 9 // 10] < 1
