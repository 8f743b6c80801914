"""Prompts in quick succession: each stream ends once, the newest is answered, and nothing is left over."""

import asyncio
from collections import Counter

from tests.client import Client
from tests.live.site import FOREVER, SHORT, Line, Open, Site

PAIRS = 100
AT_ONCE = 20
POOLED_CONNECTIONS = 12  # SQLite's, one a thread: 4 of chat, 4 that read the log, writer, checkpoint, search, readiness


async def pair(client: Client, session: str, number: int) -> None:
    first = client.ask(session, FOREVER)
    await first.until(lambda viewer: viewer.stream_id)
    await asyncio.sleep(number % 6 * 0.01)  # from at once to 50 ms
    second = client.ask(session, SHORT)
    assert await second.until_end() == "completed"
    assert await first.until_end() == "interrupted"
    await asyncio.gather(first.until_over(), second.until_over())


async def warmed_up(site: Site, client: Client) -> Open:
    """What the server holds at rest, when each of its pools has all the threads that it may have.

    A pool starts its next thread only when all others are busy, and the first checkpoint comes with the 1,000th change.
    """
    sessions = [await client.new_session() for _ in range(AT_ONCE)]
    assert (await client.send("GET", "/api/sessions/?search=nothing")).status == 200
    assert (await client.send("GET", "/readyz")).status == 200
    await client.ask(sessions[0], "scripted:?tokens=10000").until_end()
    async with asyncio.timeout(60):
        while (await site.open_now()).databases < POOLED_CONNECTIONS:
            await asyncio.gather(*(pair(client, session, 0) for session in sessions[1:]))
            viewers = [client.follow(sessions[0], 0) for _ in range(AT_ONCE)]
            await asyncio.gather(*(client.session(sessions[0]) for _ in range(AT_ONCE)))
            await asyncio.gather(*(viewer.until_end() for viewer in viewers))
            await asyncio.gather(*(viewer.disconnected() for viewer in viewers))
    return await site.open_at_rest()


async def test_a_hundred_pairs_within_50_ms_leave_nothing_behind(site: Site) -> None:
    async with site.client() as client:
        session = await client.new_session()
        before = await warmed_up(site, client)
        for number in range(PAIRS):
            await pair(client, session, number)

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
        await site.until_open_is_no_more_than(before)


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
