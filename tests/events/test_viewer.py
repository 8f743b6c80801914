"""One viewer: its cursor, its bounded queue, and the log behind it, which is read when a test lets it."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from events.core.event import Event
from events.core.sse import encode
from events.event_log import EventLog
from events.exceptions import StorageUnavailable
from events.groups import Signal
from events.hub import Hub
from events.listeners import Delivered
from events.log_reading import Page
from events.viewer import QUEUE_EVENTS, SIGNALS, Lost, Viewer
from tests.events.conftest import until

SESSION = uuid4()


def event(seq: int) -> Event:
    return Event(seq, "test", f'"{seq}"')


class StoredLog:
    """A log of `head` events, of which those up to `pruned` are gone; read in pages of `page_events`."""

    def __init__(self, head: int = 0, page_events: int = 500) -> None:
        self.head = head
        self.page_events = page_events
        self.pruned = 0
        self.reads = 0
        self.failures: list[Exception] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def read(self, session_id: UUID, after: int) -> Page:
        head = self.head  # as of the moment when the reading begins
        self.reads += 1
        await self.go_on.wait()
        if self.failures:
            raise self.failures.pop()
        if after > head or after < self.pruned:
            return Page([], head, lost=True)
        seqs = range(after + 1, min(head, after + self.page_events) + 1)
        return Page([event(seq) for seq in seqs], head, lost=False)


@pytest.fixture
def log() -> StoredLog:
    return StoredLog()


def viewer_of(log: StoredLog, after: int = 0) -> Viewer:
    hub = SimpleNamespace(repairing=asyncio.Semaphore())
    return Viewer(cast(Hub, hub), cast(EventLog, log), SESSION, after)


def delivered(*seqs: int) -> list[Delivered]:
    return [Delivered(event(seq), encode(event(seq))) for seq in seqs]


def tell(viewer: Viewer, *seqs: int) -> None:
    for seq in seqs:
        viewer.on_events(delivered(seq))


async def given(viewer: Viewer) -> list[int]:
    """The seqs of what `next` gives, which must be there without waiting."""
    delivered = await asyncio.wait_for(viewer.next(), 5)
    assert not isinstance(delivered, Lost)
    assert all(frame == encode(event) for event, frame in delivered)
    return [event.seq for event, _ in delivered]


async def waiting(viewer: Viewer) -> "asyncio.Task[Sequence[object]]":
    """A `next` that waits for news, the log having been read."""
    task = asyncio.ensure_future(viewer.next())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def up_to_date(log: StoredLog, after: int = 0) -> Viewer:
    log.head = max(log.head, after)
    viewer = viewer_of(log, after)
    while await given(viewer):
        pass
    log.reads = 0
    return viewer


async def test_what_is_stored_comes_first_in_pages(log: StoredLog) -> None:
    log.head, log.page_events = 7, 3
    viewer = viewer_of(log, 1)
    assert [await given(viewer) for _ in range(2)] == [[2, 3, 4], [5, 6, 7]]
    assert viewer.cursor_seq == 7


class Sink:
    def __init__(self, viewer: Viewer, *, takes: bool = True) -> None:
        self.takes = takes
        self.asked: list[int] = []
        viewer.sink = self

    def __call__(self, delivered: Sequence[Delivered]) -> bool:
        assert all(frame == encode(event) for event, frame in delivered)
        self.asked += [event.seq for event, _ in delivered]
        return self.takes


async def test_who_waits_is_not_woken_for_what_the_sink_takes(log: StoredLog) -> None:
    viewer = await up_to_date(log, 4)
    sink = Sink(viewer)
    task = await waiting(viewer)
    tell(viewer, 5, 6)
    assert (sink.asked, viewer.cursor_seq) == ([5, 6], 6)
    sink.takes = False
    tell(viewer, 7, 8)
    assert sink.asked == [5, 6, 7]
    assert [event.seq for event, _ in cast(Sequence[tuple[Event, bytes]], await task)] == [7, 8]
    assert log.reads == 0


async def test_what_comes_together_is_taken_together_or_not_at_all(log: StoredLog) -> None:
    viewer = await up_to_date(log, 4)
    sink = Sink(viewer)
    task = await waiting(viewer)
    viewer.on_events(delivered(5, 6))
    assert (sink.asked, viewer.cursor_seq) == ([5, 6], 6)
    sink.takes = False
    viewer.on_events(delivered(7, 8))
    assert (sink.asked, viewer.cursor_seq) == ([5, 6, 7, 8], 6)
    assert [event.seq for event, _ in cast(Sequence[Delivered], await task)] == [7, 8]


async def test_a_sink_is_asked_only_for_the_very_next_while_somebody_waits_for_it(log: StoredLog) -> None:
    viewer = await up_to_date(log, 4)
    sink = Sink(viewer)
    tell(viewer, 5)  # nobody waits
    assert await given(viewer) == [5]
    task = await waiting(viewer)
    log.head = 7
    tell(viewer, 7)  # 6 is missing
    tell(viewer, 8)  # and now the other one waits before it
    await task
    assert sink.asked == []


async def test_what_is_told_comes_without_a_look_at_the_log(log: StoredLog) -> None:
    viewer = await up_to_date(log, 4)
    tell(viewer, 5, 6)
    assert await given(viewer) == [5, 6]
    task = await waiting(viewer)
    tell(viewer, 7)
    assert len(await task) == 1
    assert log.reads == 0


async def test_what_the_log_gave_already_is_dropped(log: StoredLog) -> None:
    log.head = 3
    viewer = viewer_of(log)
    tell(viewer, 2, 3, 4)
    assert await given(viewer) == [1, 2, 3]
    assert await given(viewer) == [4]


async def test_before_a_gap_the_log_is_read(log: StoredLog) -> None:
    viewer = await up_to_date(log, 4)
    tell(viewer, 5, 8)
    log.head = 8
    assert await given(viewer) == [5]
    assert await given(viewer) == [6, 7, 8]
    assert (viewer.gaps, log.reads) == (1, 1)
    await waiting(viewer)  # the one that was told is not given again


async def test_a_queue_that_overflows_is_emptied_and_the_log_is_read(log: StoredLog) -> None:
    viewer = await up_to_date(log)
    tell(viewer, *range(1, 4 * QUEUE_EVENTS))
    assert viewer.queued <= QUEUE_EVENTS
    log.head = 4 * QUEUE_EVENTS - 1
    seqs: list[int] = []
    while not seqs or seqs[-1] < log.head:
        seqs += await given(viewer)
    assert seqs == list(range(1, 4 * QUEUE_EVENTS))


async def test_a_queue_of_long_events_is_bounded_too(log: StoredLog, settings: Settings) -> None:
    settings.EVENTS_MAX_QUEUED_BYTES = 10 * len(encode(event(1)))
    viewer = await up_to_date(log)
    tell(viewer, *range(1, 10))
    assert await given(viewer) == list(range(1, 10))
    tell(viewer, *range(10, 15))
    assert await given(viewer) == list(range(10, 15))  # what has been given counts no more
    tell(viewer, *range(15, 30))
    assert viewer.queued < 10
    log.head = 29
    assert await given(viewer) == list(range(15, 30))
    assert log.reads == 1


async def test_events_that_the_log_does_not_have_are_given_to_nobody(log: StoredLog) -> None:
    viewer = await up_to_date(log, 3)
    tell(viewer, 99)
    assert await given(viewer) == []
    await waiting(viewer)  # and not asked for over and over
    assert log.reads == 1


async def test_an_event_behind_one_that_the_log_does_not_have_is_read(log: StoredLog) -> None:
    viewer = await up_to_date(log, 3)
    tell(viewer, 99)
    log.go_on.clear()
    task = asyncio.ensure_future(viewer.next())
    await until(lambda: log.reads == 1)
    tell(viewer, 4)
    log.go_on.set()
    assert await task == []
    log.head = 4
    assert await given(viewer) == [4]


async def test_a_loss_makes_a_waiting_viewer_read_the_log(log: StoredLog) -> None:
    viewer = await up_to_date(log, 3)
    task = await waiting(viewer)
    log.head = 4
    viewer.on_loss()
    assert len(await task) == 1
    assert viewer.cursor_seq == 4


async def test_a_loss_during_a_read_is_read_as_well(log: StoredLog) -> None:
    viewer = viewer_of(log)
    log.go_on.clear()
    task = asyncio.ensure_future(viewer.next())
    await until(lambda: log.reads)
    log.head = 1
    viewer.on_loss()
    log.go_on.set()
    assert await task == []
    assert await given(viewer) == [1]


async def test_what_is_told_during_a_read_is_given_at_once(log: StoredLog) -> None:
    viewer = viewer_of(log)
    log.go_on.clear()
    task = asyncio.ensure_future(viewer.next())
    await until(lambda: log.reads)
    log.head = 1
    tell(viewer, 1)
    log.go_on.set()
    assert await task == []
    assert await given(viewer) == [1]


async def test_who_is_woken_returns_with_nothing(log: StoredLog) -> None:
    viewer = await up_to_date(log)
    task = await waiting(viewer)
    viewer.wake()
    assert await task == []
    await waiting(viewer)


async def test_a_wake_during_a_read_is_not_forgotten(log: StoredLog) -> None:
    viewer = viewer_of(log)
    log.go_on.clear()
    log.head = 1
    task = asyncio.ensure_future(viewer.next())
    await until(lambda: log.reads)
    viewer.wake()
    log.go_on.set()
    assert len(await task) == 1
    assert await given(viewer) == []


async def test_a_wake_before_anybody_waits_is_not_forgotten(log: StoredLog) -> None:
    viewer = await up_to_date(log)
    viewer.wake()
    assert await given(viewer) == []


async def test_a_signal_wakes_and_none_hides_another(log: StoredLog) -> None:
    viewer = await up_to_date(log)
    task = await waiting(viewer)
    signals = [Signal("first", ""), Signal("second", "")]
    for signal in signals:
        viewer.on_signal(signal)
    assert await task == []
    assert list(viewer.signals) == signals


async def test_signals_that_nobody_looks_at_are_bounded(log: StoredLog) -> None:
    viewer = viewer_of(log)
    for number in range(1000):
        viewer.on_signal(Signal(str(number), ""))
    assert len(viewer.signals) == SIGNALS
    assert viewer.signals[-1].name == "999"


@pytest.mark.parametrize("after", [1, 9])
async def test_a_cursor_that_was_pruned_or_never_given_out_is_lost(log: StoredLog, after: int) -> None:
    log.head, log.pruned = 8, 3
    viewer = viewer_of(log, after)
    assert isinstance(await viewer.next(), Lost)
    viewer.start_at(6, read_log=True)
    assert await given(viewer) == [7, 8]


async def test_after_a_start_without_the_log_what_was_told_meanwhile_is_given(log: StoredLog) -> None:
    viewer = viewer_of(log)
    tell(viewer, 1, 2, 3)
    viewer.start_at(1, read_log=False)
    assert await given(viewer) == [2, 3]
    assert log.reads == 0


async def test_what_was_lost_before_a_start_without_the_log_is_read(log: StoredLog) -> None:
    viewer = viewer_of(log)
    tell(viewer, 1)
    viewer.on_loss()
    log.head = 3
    viewer.start_at(1, read_log=False)
    assert await given(viewer) == [2, 3]


async def test_a_log_that_cannot_be_read_may_be_asked_again(log: StoredLog) -> None:
    log.head, log.failures = 2, [StorageUnavailable()]
    viewer = viewer_of(log)
    with pytest.raises(StorageUnavailable):
        await viewer.next()
    assert await given(viewer) == [1, 2]


async def test_a_cancelled_read_may_be_asked_again(log: StoredLog) -> None:
    log.head = 2
    log.go_on.clear()
    viewer = viewer_of(log)
    task = asyncio.ensure_future(viewer.next())
    await until(lambda: log.reads)
    task.cancel()
    await asyncio.wait([task])
    log.go_on.set()
    assert await given(viewer) == [1, 2]


async def test_a_cancelled_wait_loses_nothing(log: StoredLog) -> None:
    viewer = await up_to_date(log)
    task = await waiting(viewer)
    tell(viewer, 1)
    task.cancel()
    await asyncio.wait([task])
    assert await given(viewer) == [1]
