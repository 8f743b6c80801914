"""Prompts in quick succession: each stream ends once, the newest is answered, and nothing is left over."""

import asyncio
from collections import Counter

from tests.live.site import FOREVER, SHORT, Line, Site

PAIRS = 100
DATABASE_CONNECTIONS = 12  # of all threads; a pool starts its next one only when all others are busy


async def test_a_hundred_pairs_within_50_ms_leave_nothing_behind(site: Site) -> None:
    async with site.client() as client:
        session = await client.new_session()

        async def pair(number: int) -> None:
            first = client.ask(session, FOREVER)
            await first.until(lambda viewer: viewer.stream_id)
            await asyncio.sleep(number % 6 * 0.01)  # from at once to 50 ms
            second = client.ask(session, SHORT)
            assert await second.until_end() == "completed"
            assert await first.until_end() == "interrupted"
            await asyncio.gather(first.until_over(), second.until_over())

        await pair(0)
        before = await site.open_now()
        for number in range(1, PAIRS):
            await pair(number)

        def of_session(lines: list[Line]) -> list[Line]:
            return [line for line in lines if line.fields["session"] == session]

        lines = of_session(
            await site.until_lines(
                lambda lines: sum(line.event == "stream_end" for line in of_session(lines)) >= 2 * PAIRS,
                "stream_start",
                "stream_end",
            )
        )
        ends = Counter(line.fields["trace"] for line in lines if line.event == "stream_end")
        starts = [line.fields["trace"] for line in lines if line.event == "stream_start"]
        assert len(starts) == 2 * PAIRS
        assert ends == Counter(starts), "every stream has ended, once"
        assert {line.fields["cleanup_done"] for line in lines if line.event == "stream_end"} == {"True"}
        clean = await site.lines("cleanup_buffer", "event_buffers_cleaned", "event_buffer_cleanup_error")
        stream_ids = {line.fields["stream_id"] for line in lines if line.event == "stream_start"}
        assert sum(line.fields.get("request_id") in stream_ids for line in clean) == 2 * PAIRS
        assert sum(line.fields.get("trace") in ends for line in clean) == 2 * PAIRS

        viewer = client.follow(session, 0)
        await viewer.until(lambda viewer: len(viewer.history.ends()) == 2 * PAIRS)
        assert viewer.history.problems() == []
        await viewer.disconnected()
        async with asyncio.timeout(10):
            while (after := await site.open_now()).sockets > before.sockets:
                pass
        assert after.databases <= DATABASE_CONNECTIONS
        assert after.threads - before.threads <= DATABASE_CONNECTIONS


async def test_twenty_prompts_of_the_same_instant(site: Site) -> None:
    """All but the one that was accepted last are interrupted, most of them before they began."""
    async with site.client() as client:
        session = await client.new_session()
        answers = [client.ask(session, FOREVER) for _ in range(20)]
        viewer = client.follow(session, 0)
        await viewer.until(lambda viewer: len(viewer.history.ends()) == 19)
        assert await client.stop(session)
        ends = await asyncio.gather(*(answer.until_end() for answer in answers))
        assert sorted(ends) == ["interrupted"] * 19 + ["stopped"]
        await viewer.until(lambda viewer: len(viewer.history.ends()) == 20)
        assert list(viewer.history.ends().values())[-1] == "stopped"
        assert viewer.history.problems() == []
