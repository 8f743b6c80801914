"""Others keep the database, or the threads on the way to it, busy."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.live.raw_client import RawClient
from tests.live.server import TEST_APPLICATION
from tests.live.site import SHORT, Site, running_site


@pytest.fixture
def occupiable() -> Iterator[Site]:
    with running_site(application=TEST_APPLICATION) as site:
        yield site


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


async def test_nobody_waits_for_the_thread_that_all_consumers_share(occupiable: Site) -> None:
    """Channels takes it before every message to a consumer: one slow query there, and no viewer gets anything."""
    with await asyncio.to_thread(RawClient, occupiable.server) as occupant:
        await asyncio.to_thread(occupant.get, "/occupy")
        await asyncio.to_thread(occupant.read_until, b"occupied")
        async with occupiable.client() as client:
            session = await client.new_session()
            viewer = await client.follow(session).until_open()
            answer = client.ask(session, SHORT)
            assert await answer.until_end() == "completed"
            assert await viewer.until_end(answer.stream_id) == "completed"
            await viewer.disconnected()
            assert await client.stop(session) is False
