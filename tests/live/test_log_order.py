"""The lines of two rapid prompts, in the log of a real run: their names, fields and order are a contract."""

from tests.live.site import FOREVER, Line, Site

FIELDS = {
    "stream_start": {"trace", "stream_id", "session"},
    "first_event": {"trace", "session", "status"},
    "flush_scheduled": {"request_id"},
    "flush_start": {"request_id", "size"},
    "flush_done": {"request_id", "tokens_sent"},
    "flush_immediate": {"request_id", "size"},
    "flush_on_end": {"request_id", "size"},
    "flush_on_cleanup": {"request_id", "size"},
    "flush_cancelled": {"request_id"},
    "cleanup_flush_task": {"request_id"},
    "cleanup_buffer": {"request_id"},
    "event_buffers_cleaned": {"trace"},
    "stream_cancelled": {"trace", "reason"},
    "prev_stream_finished_cleanly": {"session", "trace"},
    "stream_end": {"trace", "session", "reason", "cleanup_done"},
}
FLUSHES = ["flush_scheduled", "flush_start", "flush_done", "flush_immediate", "flush_cancelled"]
BOUNDS = ["first_event", "cleanup_flush_task", "flush_on_cleanup"]


class Story:
    """The lines of one session, each with the number of its stream: 1, 2, … in the order of `stream_start`."""

    def __init__(self, lines: list[Line], session: str) -> None:
        starts = [line.fields for line in lines if line.event == "stream_start" and line.fields["session"] == session]
        self.numbers = {
            start[name]: number for number, start in enumerate(starts, 1) for name in ("trace", "stream_id")
        }
        self.lines = [(self._number(line), line) for line in lines if self._number(line)]

    def _number(self, line: Line) -> int:
        return self.numbers.get(line.fields.get("trace") or line.fields.get("request_id") or "", 0)

    def told(self, *leave_out: str) -> list[str]:
        return [f"{number} {line.event}" for number, line in self.lines if line.event not in leave_out]

    def values(self, number: int, event: str, field: str) -> list[str]:
        return [line.fields[field] for of, line in self.lines if of == number and line.event == event]


async def story_of(site: Site, session: str, streams: int) -> Story:
    def ended(lines: list[Line]) -> bool:
        return sum(line.event == "stream_end" and line.fields["session"] == session for line in lines) >= streams

    return Story(await site.until_lines(ended), session)


async def test_two_rapid_prompts(site: Site) -> None:
    async with site.client() as client:
        session = await client.new_session()
        first = await client.ask(session, FOREVER).until(lambda viewer: len(viewer.history) > 5)
        second = client.ask(session, "scripted:?tokens=30&rate=200")
        assert await second.until_end() == "completed"
    story = await story_of(site, session, 2)
    told = story.told(*FLUSHES)
    assert told == [
        "1 stream_start",
        "1 first_event",
        "2 stream_start",
        "1 stream_cancelled",
        "1 cleanup_flush_task",
        "1 flush_on_cleanup",
        "1 cleanup_buffer",
        "1 event_buffers_cleaned",
        "1 stream_end",
        "1 prev_stream_finished_cleanly",
        "2 first_event",
        "2 cleanup_flush_task",
        "2 flush_on_end",
        "2 cleanup_buffer",
        "2 event_buffers_cleaned",
        "2 stream_end",
    ]
    assert_flushed_in_between(story.told(*set(FIELDS) - {*FLUSHES, *BOUNDS}))
    for _, line in story.lines:
        assert set(line.fields) == FIELDS[line.event], line
    assert story.values(1, "stream_cancelled", "reason") == ["registry_new_stream"]
    assert story.values(1, "stream_end", "reason") == ["interrupted"]
    assert story.values(2, "stream_end", "reason") == ["completed"]
    assert story.values(1, "stream_end", "cleanup_done") == story.values(2, "stream_end", "cleanup_done") == ["True"]
    assert story.values(1, "first_event", "status") == ["thinking"]
    flushed = [int(tokens) for tokens in story.values(2, "flush_done", "tokens_sent")]
    assert 0 < sum(flushed) <= 30
    assert first.error is None


def assert_flushed_in_between(told: list[str]) -> None:
    """The first stream flushes when it has begun and until it is cleaned up; never again once its rest was taken."""
    first = [line.removeprefix("1 ") for line in told if line.startswith("1 ")]
    begins, closes, rest = (first.index(bound) for bound in BOUNDS)
    assert not {*first[:begins], *first[rest + 1 :]}
    assert "flush_done" in first[begins:closes], "a flush that the end did not have to wait for"
    flushes = [line for line in first if line in ("flush_start", "flush_done")]
    assert flushes == ["flush_start", "flush_done"] * (len(flushes) // 2)


async def test_every_flush_is_told_in_order(site: Site) -> None:
    async with site.client() as client:
        session = await client.new_session()
        answer = client.ask(session, "scripted:?tokens=40&rate=100")
        await answer.until_end()
    story = await story_of(site, session, 1)
    told = [line.event for _, line in story.lines if line.event in ("flush_start", "flush_done")]
    assert told == ["flush_start", "flush_done"] * (len(told) // 2)
    assert told, "at 100 tokens/s there is a flush every 75 ms"
    sizes = sum(int(size) for size in story.values(1, "flush_start", "size"))
    assert sizes + int(story.values(1, "flush_on_end", "size")[0]) == len(answer.text.encode())


async def test_more_than_a_kilobyte_leaves_at_once(site: Site) -> None:
    async with site.client() as client:
        session = await client.new_session()
        await client.ask(session, "scripted:?tokens=2000").until_end()
    story = await story_of(site, session, 1)
    assert all(int(size) > 1024 for size in story.values(1, "flush_immediate", "size"))
    assert story.values(1, "flush_immediate", "size")


async def test_a_prompt_that_is_refused_starts_nothing(site: Site) -> None:
    async with site.client() as client:
        session = await client.new_session()
        answer = await client.ask(session, FOREVER).until_text()
        assert (await client.prompt(session, "no", if_busy="reject")).status == 409
        await client.stop(session)
        await answer.until_end()
    story = await story_of(site, session, 1)
    assert story.told().count("1 stream_start") == 1
    assert "2 stream_start" not in story.told()
    assert story.values(1, "stream_cancelled", "reason") == ["stopped"]


async def test_a_text_that_waits_when_its_stream_is_stopped_is_stored_with_the_end(site: Site) -> None:
    """A token comes every 20 ms and leaves every 75 ms: when the stop comes, some text waits."""
    async with site.client() as client:
        session = await client.new_session()
        answer = await client.ask(session, FOREVER).until(lambda viewer: len(viewer.history) > 6)
        await client.stop(session)
        await answer.until_end()
        stored = await client.answer_of(session, answer.stream_id)
    story = await story_of(site, session, 1)
    sizes = sum(int(size) for size in story.values(1, "flush_start", "size"))
    assert sizes + int(story.values(1, "flush_on_cleanup", "size")[0]) == len(stored["text"].encode())
    assert stored["text"] == answer.text
