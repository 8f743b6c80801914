"""The publisher under a virtual clock, with a log that is as slow, as strict and as broken as a test wants it."""

import asyncio
import random
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from time import process_time
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4

import pytest
import structlog
from pytest_django import Settings
from structlog.testing import LogCapture

from events import metrics
from events import publisher as publisher_module
from events.core.pace import IN_STEP, TICK_SHARE, Pace
from events.event_log import EventLog
from events.exceptions import StorageUnavailable
from events.log_transaction import Along, Append, Entry, First, LogTransaction
from events.publisher import BatchingPublisher
from events.timers import Timers

pytestmark = pytest.mark.looptime

INTERVAL = 0.075
T = TypeVar("T")
Lines = list[MutableMapping[str, Any]]


@dataclass
class ScriptedLog:
    """Keeps what is appended, in memory. Each append takes `seconds`; `failures` are raised one by one."""

    seconds: float = 0.0
    turn: int = 1
    failures: list[Exception] = field(default_factory=list)
    commits: list[tuple[float, list[Entry]]] = field(default_factory=list)  # when each began, and what it stored
    patient: list[str] = field(default_factory=list)  # what gave way
    holds_up_ends: bool = False
    doubt: asyncio.Event | None = None  # until it is set, nobody knows what became of a commit
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    @property
    def entries(self) -> list[Entry]:
        return [entry for _, entries in self.commits for entry in entries]

    @property
    def text(self) -> str:
        return "".join(entry.data for entry in self.entries if entry.type == "text")

    def hand_in(
        self,
        append: Append,
        on_end: Callable[[int | None, Exception | None], None],
        on_doubt: Callable[[], None],
        along: Along | None = None,
    ) -> None:
        def work(log: LogTransaction) -> int | None:
            last = log.append(append.session_id, *append.entries, turn=append.turn)
            if last is not None and along is not None:
                along.work(log, [along.item])
            return last

        async def carry_out() -> None:
            try:
                last = await self.transaction(work, on_doubt)
            except Exception as error:
                on_end(None, error)
            else:
                on_end(last, None)

        self._tasks.append(asyncio.ensure_future(carry_out()))

    async def transaction(
        self, work: Callable[[LogTransaction], T], on_doubt: Callable[[], None], *, gives_way: bool = False
    ) -> T:
        if self.doubt is not None:
            on_doubt()
            await self.doubt.wait()
        began = asyncio.get_running_loop().time()
        self.in_flight += 1
        self.most_in_flight = max(self.in_flight, self.most_in_flight)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.in_flight -= 1
        if self.failures:
            raise self.failures.pop(0)
        transaction = ScriptedTransaction(self.turn)
        result = work(cast(LogTransaction, transaction))
        if transaction.entries:
            self.commits.append((began, transaction.entries))
            if gives_way:
                self.patient += [entry.type for entry in transaction.entries]
        return result


class ScriptedTransaction:
    def __init__(self, turn: int) -> None:
        self.entries: list[Entry] = []
        self._turn = turn

    def append(self, session_id: UUID, *entries: Entry, turn: int | None = None) -> int | None:
        if turn != self._turn:
            return None
        self.entries += entries
        return len(self.entries)


def slow_down(pace: Pace) -> None:
    """The loop was late until now."""
    now = asyncio.get_running_loop().time()
    for count in range(20):
        pace.note(0.05)
        pace.judge(now + (count - 20) / 10, process_time())


class Stream:
    """A publisher, the log it writes to, and how it is doing."""

    def __init__(self, log: ScriptedLog, pace: Pace | None = None, timers: Timers | None = None) -> None:
        self.log = log
        self.id = uuid4()
        self.pace = pace or Pace(INTERVAL, 0.2)
        self.troubles: list[StorageUnavailable | None] = []
        self.firsts: list[float] = []
        self.works: list[UUID] = []  # whose first text's work was done
        self.publisher = BatchingPublisher(
            cast(EventLog, log),
            uuid4(),
            self.id,
            1,
            text_type="text",
            encode=lambda text: text,
            before_first=self._before_first,
            on_trouble=self.troubles.append,
            timers=timers or Timers(self.pace),
        )

    async def write(self, tokens: Iterable[str], pause_seconds: float = 0.0) -> str:
        written = ""
        for token in tokens:
            if self.publisher.full:
                await self.publisher.room()
            self.publisher.add(token)
            written += token
            if pause_seconds:
                await asyncio.sleep(pause_seconds)
        return written

    doubts = 0  # about the end

    def _doubt(self) -> None:
        self.doubts += 1

    async def finish(self, line: str = "flush_on_end") -> int | None:
        def work(log: LogTransaction, entries: Sequence[Entry]) -> int | None:
            return log.append(uuid4(), *entries, Entry("end", ""), turn=1)

        ended = await self.publisher.finish(line, work, self._doubt)
        if ended is not None and self.publisher.text is not None:
            assert self.publisher.text == self.stored_text
        return ended

    @property
    def stored_text(self) -> str:
        return "".join(entry.data for entry in self.log.entries if entry.stream_id == self.id and entry.type == "text")

    def _before_first(self) -> First:
        self.firsts.append(asyncio.get_running_loop().time())
        return First([Entry("streaming", "")], Along(lambda log, items: self.works.extend(items), self.id))


@pytest.fixture
def log() -> ScriptedLog:
    return ScriptedLog()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """What the publisher logs, at all levels."""
    capture = LogCapture()
    logger = structlog.wrap_logger(None, processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(0))
    monkeypatch.setattr(publisher_module, "logger", logger)
    return capture.entries


def types(log: ScriptedLog) -> list[str]:
    return [entry.type for entry in log.entries]


async def test_the_text_of_a_long_answer_is_not_kept(log: ScriptedLog) -> None:
    stream = Stream(log)
    await stream.write(1024 * "x" for _ in range(publisher_module.KEPT_BYTES // 1024))
    await asyncio.sleep(1)
    assert stream.publisher.text == stream.stored_text
    assert len(stream.stored_text) == publisher_module.KEPT_BYTES
    await stream.write(["y"])
    await stream.finish()
    assert stream.publisher.text is None
    assert stream.stored_text.endswith("xy")


# --- batching ---


async def test_the_first_token_leaves_at_once(log: ScriptedLog) -> None:
    stream = Stream(log)
    await asyncio.sleep(1)
    stream.publisher.add("a")
    await asyncio.sleep(0.001)
    assert [began for began, _ in log.commits] == [1.0]
    assert log.text == "a"


async def test_a_token_after_a_pause_leaves_at_once(log: ScriptedLog) -> None:
    stream = Stream(log)
    for moment in (1.0, 1.5, 2.0):
        await asyncio.sleep(moment - asyncio.get_running_loop().time())
        stream.publisher.add("a")
    await asyncio.sleep(0.001)
    assert [began for began, _ in log.commits] == [1.0, 1.5, 2.0]


async def test_steady_tokens_leave_every_three_ticks_and_none_waits_longer(log: ScriptedLog) -> None:
    stream = Stream(log)
    written = await stream.write((f"{number} " for number in range(100)), pause_seconds=0.02)
    await asyncio.sleep(1)
    assert log.text == written
    starts = [began for began, _ in log.commits]
    apart = [round((later - earlier) / TICK_SHARE / INTERVAL, 3) for earlier, later in pairwise(starts)]
    assert set(apart[1:-1]) <= {3, 2}
    assert apart[1:-1].count(2) <= 2  # to keep step with others
    added = 0
    for began, entries in log.commits:
        for number in "".join(entry.data for entry in entries).split():
            assert 0 <= began - int(number) * 0.02 <= INTERVAL + 1e-9
            added += 1
    assert added == 100


async def test_more_than_flush_bytes_leaves_at_once(log: ScriptedLog) -> None:
    stream = Stream(log)
    await stream.write(["a"], 0.001)
    stream.publisher.add("b" * 1024)
    await asyncio.sleep(0.001)
    assert len(log.commits) == 1
    stream.publisher.add("c")
    await asyncio.sleep(0.001)
    assert [began for began, _ in log.commits] == pytest.approx([0.0, 0.002], abs=1e-6)
    assert log.text == "a" + "b" * 1024 + "c"


async def test_what_arrives_during_a_flush_joins_the_next_batch(log: ScriptedLog) -> None:
    log.seconds = 0.5
    stream = Stream(log)
    await stream.write("abcdefghij", pause_seconds=0.04)
    await asyncio.sleep(2)
    assert [entry.data for entry in log.entries if entry.type == "text"] == ["a", "bcdefghij"]
    assert log.most_in_flight == 1


async def test_nothing_is_sent_while_nothing_waits(log: ScriptedLog) -> None:
    stream = Stream(log)
    await stream.write(["a"])
    await asyncio.sleep(3600)
    assert len(log.commits) == 1


@pytest.mark.parametrize("seed", range(20))
async def test_any_tokens_at_any_times_into_any_log_arrive_whole_and_in_order(log: ScriptedLog, seed: int) -> None:
    chance = random.Random(seed)
    log.seconds = chance.choice([0, 0.001, 0.02, 0.3])
    stream = Stream(log)
    written = ""
    for _ in range(200):
        written += await stream.write([chance.choice("aé😀") * chance.choice([1, 5, 400, 1500])])
        if chance.random() < 0.4:
            await asyncio.sleep(chance.choice([0, 0.001, 0.05, 0.2]))
        if chance.random() < 0.05:
            await stream.publisher.publish(Entry("other", str(len(written))))
            before = "".join(entry.data for entry in log.entries if entry.type == "text")
            assert before == written  # all text that came before it has left with it, or earlier
    await stream.finish()
    assert log.text == written
    assert types(log)[-1] == "end"
    assert log.most_in_flight == 1
    assert (stream.publisher.tokens, stream.publisher.text_bytes) == (200, len(written.encode()))
    assert stream.publisher.batches == types(log).count("text")


async def test_the_batches_of_streams_that_began_at_different_times_leave_together(log: ScriptedLog) -> None:
    streams = []
    for _ in range(7):
        streams.append(Stream(log))
        streams[-1].publisher.add("first")
        await asyncio.sleep(0.0077)
    for _ in range(50):
        for stream in streams:
            stream.publisher.add("x")
        await asyncio.sleep(0.02)
    later = {round(began, 4) for began, _ in log.commits[7:]}
    assert len(log.commits) > 80
    assert len(later) <= 3 * 14


@pytest.mark.parametrize(("streams", "moments"), [(IN_STEP, 14), (IN_STEP + 1, 3 * 14)])
async def test_few_streams_come_to_keep_step_and_many_do_not(log: ScriptedLog, streams: int, moments: int) -> None:
    some, pace = [], Pace(INTERVAL, 0.2)
    pace.streams = streams - 7
    for _ in range(7):
        some.append(Stream(log, pace))
        some[-1].publisher.add("first")
        await asyncio.sleep(0.0177)
    for _ in range(200):  # 4 s; after two they have found together
        for stream in some:
            stream.publisher.add("x")
        await asyncio.sleep(0.02)
    in_a_second = {round(began, 4) for began, _ in log.commits if began > asyncio.get_running_loop().time() - 1}
    assert moments - 3 <= len(in_a_second) <= moments


async def test_while_the_loop_is_late_batches_wait_longer(log: ScriptedLog) -> None:
    stream = Stream(log)
    slow_down(stream.pace)
    await stream.write(["x"] * 500, pause_seconds=0.02)
    starts = [began for began, _ in log.commits]
    assert max(later - earlier for earlier, later in pairwise(starts)) > 0.15
    # Timers were punctual since then.
    assert starts[-1] - starts[-2] == pytest.approx(3 * TICK_SHARE * INTERVAL, abs=0.001)


# --- other events ---


async def test_text_leaves_before_another_event_in_the_same_commit(log: ScriptedLog) -> None:
    stream = Stream(log)
    await stream.write("ab", 0.001)
    await stream.publisher.publish(Entry("other", ""))
    assert types(log) == ["streaming", "text", "text", "other"]
    assert [entry.type for entry in log.commits[-1][1]] == ["text", "other"]


async def test_another_event_waits_for_the_flush_in_flight(log: ScriptedLog) -> None:
    log.seconds = 1
    stream = Stream(log)
    await stream.write("ab", 0.01)
    await stream.publisher.publish(Entry("other", ""))
    assert types(log) == ["streaming", "text", "text", "other"]
    assert log.most_in_flight == 1


async def test_an_event_without_text_is_durable_when_publish_returns(log: ScriptedLog) -> None:
    log.seconds = 1
    stream = Stream(log)
    await stream.publisher.publish(Entry("queued", ""))
    assert types(log) == ["queued"]
    assert stream.publisher.batches == 0


async def test_text_that_arrives_while_another_event_leaves_is_not_forgotten(log: ScriptedLog) -> None:
    log.seconds = 0.5
    stream = Stream(log)
    await stream.write("a")
    publishing = asyncio.ensure_future(stream.publisher.publish(Entry("other", "")))
    await asyncio.sleep(0.7)  # its own commit is under way
    stream.publisher.add("b")
    await publishing
    await asyncio.sleep(2)
    assert log.text == "ab"


async def test_what_goes_before_the_first_text_is_asked_for_once_when_it_comes(log: ScriptedLog) -> None:
    stream = Stream(log)
    await stream.publisher.publish(Entry("queued", ""))
    await asyncio.sleep(2)
    await stream.write("abc", 0.1)
    assert stream.firsts == [2.0]
    assert types(log)[:3] == ["queued", "streaming", "text"]
    assert types(log).count("streaming") == 1


# --- the end ---


async def test_what_is_left_goes_with_the_end(log: ScriptedLog) -> None:
    stream = Stream(log)
    await stream.write("abc", 0.001)
    assert await stream.finish() is not None
    assert [[entry.data for entry in entries] for _, entries in log.commits] == [["", "a"], ["bc", ""]]
    assert log.patient == ["text", "end"]
    assert stream.publisher.batches == 2


async def test_what_is_left_does_not_wait_where_ends_have_to(log: ScriptedLog) -> None:
    log.holds_up_ends = True
    stream = Stream(log)
    await stream.write("abc", 0.001)
    assert await stream.finish() is not None
    assert [[entry.data for entry in entries] for _, entries in log.commits] == [["", "a"], ["bc"], [""]]
    assert log.patient == ["end"]
    assert types(log) == ["streaming", "text", "text", "end"]
    assert stream.publisher.batches == 2


async def test_a_stream_without_any_text_ends(log: ScriptedLog) -> None:
    stream = Stream(log)
    await stream.finish()
    assert types(log) == ["end"]
    assert (stream.publisher.batches, stream.publisher.tokens, stream.publisher.text_bytes) == (0, 0, 0)


@pytest.mark.parametrize("holds_up_ends", [False, True])
async def test_text_that_comes_and_ends_at_once_has_its_status_before_it(log: ScriptedLog, holds_up_ends: bool) -> None:
    log.holds_up_ends = holds_up_ends
    stream = Stream(log)
    stream.publisher.add("a")
    await stream.finish()
    assert types(log) == ["streaming", "text", "end"]


async def test_the_end_waits_for_the_flush_in_flight(log: ScriptedLog) -> None:
    log.seconds = 1
    stream = Stream(log)
    await stream.write("ab", 0.01)
    await stream.finish()
    assert types(log) == ["streaming", "text", "text", "end"]
    assert log.most_in_flight == 1


async def cut_off_the_end(stream: Stream) -> None:
    finishing = asyncio.ensure_future(stream.finish())
    await asyncio.sleep(0.1)
    finishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finishing


async def test_cancelling_the_end_does_not_cancel_a_flush(log: ScriptedLog) -> None:
    log.seconds = 1
    stream = Stream(log)
    await stream.write("ab", 0.01)
    await cut_off_the_end(stream)
    await stream.finish("flush_on_cleanup")
    assert log.text == "ab"
    assert stream.publisher.tokens == 2


async def test_an_end_that_was_cut_off_leaves_no_text_behind(log: ScriptedLog) -> None:
    """Who drains has no more time for the end; the text is stored, and whoever ends the stream finds it."""
    log.seconds = 1
    stream = Stream(log)
    await stream.write("abc", 0.01)
    await cut_off_the_end(stream)
    await stream.publisher.aclose()
    assert log.text == "abc"
    assert types(log) == ["streaming", "text", "text"]


async def test_who_closes_waits_for_the_flush_in_flight_even_if_it_is_cancelled(log: ScriptedLog) -> None:
    log.seconds = 1.0
    stream = Stream(log)
    text = await stream.write(["a"])
    await asyncio.sleep(0.5)
    await stream.write(["b"])
    closing = asyncio.ensure_future(stream.publisher.aclose())
    await asyncio.sleep(0.1)
    closing.cancel()
    await asyncio.wait([closing])
    assert log.in_flight == 1
    await stream.publisher.aclose()
    assert (log.text, log.in_flight) == (text, 0)


async def test_cancelling_publish_cancels_neither_the_text_nor_the_event(log: ScriptedLog) -> None:
    log.seconds = 1
    stream = Stream(log)
    await stream.write("ab", 0.01)
    publishing = asyncio.ensure_future(stream.publisher.publish(Entry("other", "")))
    await asyncio.sleep(1.1)  # "b" and the event are on their way
    publishing.cancel()
    await asyncio.wait([publishing])
    await stream.finish()
    assert types(log) == ["streaming", "text", "text", "other", "end"]
    assert log.text == "ab"


async def test_cancelling_publish_before_its_turn_leaves_nothing_out_of_order(log: ScriptedLog) -> None:
    log.seconds = 1
    stream = Stream(log)
    await stream.write("ab", 0.01)
    publishing = asyncio.ensure_future(stream.publisher.publish(Entry("other", "")))
    await asyncio.sleep(0.1)  # "a" is still on its way
    publishing.cancel()
    await asyncio.wait([publishing])
    await stream.finish()
    assert types(log) == ["streaming", "text", "text", "other", "end"]


async def test_nothing_of_the_publisher_runs_on_after_the_stream(log: ScriptedLog) -> None:
    before = asyncio.all_tasks()
    stream = Stream(log)
    await stream.write("abc", 0.1)
    await stream.finish()
    assert asyncio.all_tasks() == before


# --- backpressure ---


async def test_the_reader_waits_when_too_much_waits_and_goes_on_when_it_has_left(
    log: ScriptedLog, settings: Settings
) -> None:
    settings.EVENTS_MAX_PENDING_BYTES = 1000
    log.seconds = 5
    stream = Stream(log)
    await stream.write("a", 0.001)
    stream.publisher.add("b" * 999)
    assert not stream.publisher.full
    await stream.publisher.room()  # returns at once
    stream.publisher.add("c")
    assert stream.publisher.full
    await stream.publisher.room()
    assert asyncio.get_running_loop().time() == pytest.approx(5, abs=0.01)
    assert not stream.publisher.full


async def test_a_slow_log_slows_the_reader_and_bounds_what_waits(log: ScriptedLog, settings: Settings) -> None:
    settings.EVENTS_MAX_PENDING_BYTES = 4096
    log.seconds = 1
    stream = Stream(log)
    written = await stream.write("x" * 100 for _ in range(500))
    assert asyncio.get_running_loop().time() > 10
    assert max(len(entry.data) for entry in log.entries) <= 4096 + 100
    await stream.finish()
    assert log.text == written


async def test_a_reader_that_waits_may_be_cancelled(log: ScriptedLog, settings: Settings) -> None:
    settings.EVENTS_MAX_PENDING_BYTES = 10
    log.seconds = 1
    stream = Stream(log)
    await stream.write("a", 0.001)
    stream.publisher.add("b" * 10)
    waiting = asyncio.ensure_future(stream.publisher.room())
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait([waiting])
    await stream.finish()
    assert log.text == "a" + "b" * 10


# --- a log that refuses, or is broken ---


async def test_a_refused_turn_is_told_once_and_nothing_is_sent_any_more(log: ScriptedLog) -> None:
    stream = Stream(log)
    await stream.write("ab", 0.1)
    log.turn = 2
    await stream.write("cdefg", 0.1)
    await stream.publisher.publish(Entry("other", ""))
    await stream.publisher.room()
    assert stream.troubles == [None]
    assert await stream.finish() is None
    assert log.text == "ab"


async def test_text_that_another_has_ended_the_stream_before_is_not_counted(
    log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(metrics, "flushed", lambda batch, cause: counted.append(batch.text))
    stream = Stream(log)
    await stream.write("ab", 0.001)
    log.turn = 2
    assert await stream.finish() is None
    assert (counted, log.text) == (["a"], "a")


async def test_behind_the_first_text_goes_its_work_once_and_not_if_the_turn_is_refused(log: ScriptedLog) -> None:
    stream, late = Stream(log), Stream(log)
    await stream.write("a", 0.1)
    assert stream.works == []
    await stream.write("bc", 0.1)
    assert stream.works == [stream.id]
    await late.write("a", 0.1)
    log.turn = 2
    await late.write("b", 0.1)
    assert late.troubles == [None]
    assert late.works == []


async def test_a_model_that_falls_silent_after_its_first_words_has_that_stored_soon(log: ScriptedLog) -> None:
    stream = Stream(log)
    await stream.write("a", 0.3)
    assert stream.works == []
    await asyncio.sleep(1.5)
    assert (types(log), stream.works) == (["streaming", "text"], [stream.id])
    await stream.write("b", 2)
    assert (types(log), stream.works) == (["streaming", "text", "text"], [stream.id])


async def test_a_text_that_comes_while_that_is_being_stored_follows_at_once(log: ScriptedLog) -> None:
    log.seconds = 0.02
    stream = Stream(log)
    await stream.write("a", 1.0)
    await stream.write("b", 0.01)
    assert (log.text, log.in_flight) == ("a", 1)
    await asyncio.sleep(0.04)
    assert (log.text, stream.works) == ("ab", [stream.id])


async def test_it_waits_for_a_log_that_is_slow(log: ScriptedLog) -> None:
    log.seconds = 4.0
    stream = Stream(log)
    await stream.write("ab", 0.3)
    await asyncio.sleep(7)  # the second text has been on its way since the first one was stored
    assert stream.works == []
    await asyncio.sleep(3)
    assert (log.text, stream.works) == ("ab", [stream.id])


async def test_an_end_without_a_second_text_leaves_the_work_of_the_first_undone(log: ScriptedLog) -> None:
    stream = Stream(log)
    await stream.write("a", 0.1)
    await stream.finish()
    assert (types(log), stream.works) == (["streaming", "text", "end"], [])


@pytest.mark.parametrize("failure", [StorageUnavailable(), ValueError("anything else")])
async def test_a_broken_log_is_told_once_and_its_text_goes_with_the_end(log: ScriptedLog, failure: Exception) -> None:
    stream = Stream(log)
    await stream.write("ab", 0.1)
    log.failures = [failure, StorageUnavailable(), StorageUnavailable()]
    await stream.write("cde", 0.1)
    await stream.publisher.publish(Entry("other", ""))
    log.failures.clear()
    assert [type(trouble) for trouble in stream.troubles] == [StorageUnavailable]
    await stream.finish()
    assert log.text == "abcde"
    assert (stream.publisher.tokens, stream.publisher.batches) == (5, 3)


async def test_a_broken_log_does_not_hold_a_reader_that_waits_for_room(log: ScriptedLog, settings: Settings) -> None:
    settings.EVENTS_MAX_PENDING_BYTES = 10
    log.seconds = 1
    log.failures = [StorageUnavailable()]
    stream = Stream(log)
    await stream.write("a", 0.001)
    stream.publisher.add("b" * 20)
    await stream.publisher.room()
    assert len(stream.troubles) == 1


async def test_who_waits_for_the_end_is_told_when_its_last_text_could_not_be_stored(log: ScriptedLog) -> None:
    log.holds_up_ends = True
    stream = Stream(log)
    await stream.write("ab", 0.001)
    log.failures = [StorageUnavailable()]
    log.seconds = 10
    finishing = asyncio.ensure_future(stream.finish())
    await asyncio.sleep(10.1)
    assert (finishing.done(), stream.doubts) == (False, 1)
    await finishing
    assert types(log) == ["streaming", "text", "text", "end"]
    assert (log.text, stream.doubts) == ("ab", 1)


async def test_the_end_may_be_tried_again_and_nothing_is_lost_or_doubled(log: ScriptedLog) -> None:
    stream = Stream(log)
    await stream.write("ab", 0.1)
    log.failures = [StorageUnavailable() for _ in range(4)]
    await stream.write("cd", 0.01)
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            await stream.finish()
    await stream.finish()
    assert log.text == "abcd"
    assert types(log).count("end") == 1
    assert (stream.publisher.tokens, stream.publisher.batches, stream.publisher.text_bytes) == (4, 3, 4)


async def test_the_first_text_brings_its_status_even_if_it_comes_with_the_end(log: ScriptedLog) -> None:
    log.failures = [StorageUnavailable(), StorageUnavailable()]
    stream = Stream(log)
    await stream.write("ab", 0.1)
    with pytest.raises(StorageUnavailable):
        await stream.finish()
    await stream.finish()
    assert types(log) == ["streaming", "text", "end"]
    assert log.text == "ab"


# --- the log lines ---


def shown(lines: Lines, stream: Stream) -> Lines:
    assert all(line.pop("request_id") == str(stream.id) for line in lines)
    return lines


async def test_a_stream_tells_each_flush_at_debug_level_and_its_cleanup_at_info(log: ScriptedLog, lines: Lines) -> None:
    stream = Stream(log)
    await stream.write("aé", 0.001)
    await asyncio.sleep(0.1)
    stream.publisher.add("x" * 1025)
    await asyncio.sleep(0.001)
    stream.publisher.add("y")
    await asyncio.sleep(0.001)
    await stream.finish("flush_on_cleanup")
    assert shown(lines, stream) == [
        {"event": "flush_start", "log_level": "debug", "size": 1},
        {"event": "flush_done", "log_level": "debug", "tokens_sent": 1},
        {"event": "flush_scheduled", "log_level": "debug"},
        {"event": "flush_start", "log_level": "debug", "size": 2},
        {"event": "flush_done", "log_level": "debug", "tokens_sent": 1},
        {"event": "flush_immediate", "log_level": "debug", "size": 1025},
        {"event": "flush_start", "log_level": "debug", "size": 1025},
        {"event": "flush_done", "log_level": "debug", "tokens_sent": 1},
        {"event": "flush_scheduled", "log_level": "debug"},
        {"event": "cleanup_flush_task", "log_level": "info"},
        {"event": "flush_cancelled", "log_level": "debug"},
        {"event": "flush_on_cleanup", "log_level": "info", "size": 1},
        {"event": "cleanup_buffer", "log_level": "info"},
    ]


async def test_a_flush_in_flight_is_done_before_the_last_one_is_told(log: ScriptedLog, lines: Lines) -> None:
    log.seconds = 1
    stream = Stream(log)
    await stream.write("ab", 0.01)
    await stream.finish("flush_on_cleanup")
    assert [line["event"] for line in shown(lines, stream)] == [
        "flush_start",
        "cleanup_flush_task",
        "flush_done",
        "flush_on_cleanup",
        "cleanup_buffer",
    ]


async def test_a_stream_with_nothing_left_says_so(log: ScriptedLog, lines: Lines) -> None:
    stream = Stream(log)
    await stream.finish()
    assert shown(lines, stream) == [
        {"event": "cleanup_flush_task", "log_level": "info"},
        {"event": "flush_on_end", "log_level": "info", "size": 0},
        {"event": "cleanup_buffer", "log_level": "info"},
    ]


async def test_an_end_that_is_tried_again_tells_its_lines_once(log: ScriptedLog, lines: Lines) -> None:
    stream = Stream(log)
    await stream.write("ab", 0.001)
    log.holds_up_ends = True
    log.failures = [StorageUnavailable() for _ in range(4)]  # the first meets the text alone
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            await stream.finish()
    await stream.finish()
    assert [line for line in shown(lines, stream) if line["log_level"] == "info"] == [
        {"event": "cleanup_flush_task", "log_level": "info"},
        {"event": "flush_on_end", "log_level": "info", "size": 1},
        {"event": "cleanup_buffer", "log_level": "info"},
    ]


# --- when nobody knows whether a batch is stored ---


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_batch_in_doubt_is_stored_once_whatever_became_of_it(log: ScriptedLog, is_stored: bool) -> None:
    stream = Stream(log)
    await stream.write("ab", 0.1)
    log.doubt = asyncio.Event()
    await stream.write("c", 0.1)
    assert [type(trouble) for trouble in stream.troubles] == [StorageUnavailable]  # the stream need not go on
    finishing = asyncio.ensure_future(stream.finish("flush_on_cleanup"))
    await asyncio.sleep(60)
    assert not finishing.done()  # whether the batch goes with the end depends on what became of it
    if not is_stored:
        log.failures = [StorageUnavailable()]
    log.doubt.set()
    log.doubt = None
    assert await finishing is not None
    assert log.text == "abc"
    assert len(stream.troubles) == 1


async def test_an_end_that_waits_for_a_batch_in_doubt_is_told_so(log: ScriptedLog) -> None:
    log.seconds = 0.5
    stream = Stream(log)
    await stream.write("ab", 0.1)
    log.doubt = asyncio.Event()
    finishing = asyncio.ensure_future(stream.finish())
    await asyncio.sleep(2)
    assert stream.doubts >= 1
    log.doubt.set()
    assert await finishing is not None
    assert log.text == "ab"
