"""Others keep the database busy."""

import asyncio

from tests.live.site import Site


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
