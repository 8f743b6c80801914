"""Responses that stay open: how they begin, go on and end, and what is left of them then."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from pytest_django import Settings

from events import consumers, log_reading
from events.bus import EventBus
from events.consumers import EventStreamConsumer, LongResponseConsumer
from events.core import sse
from events.core.event import Event
from events.exceptions import BusClosed, StorageUnavailable
from events.groups import Signal
from events.hub import Hub
from events.log_transaction import LogTransaction
from events.models import StoredEvent
from tests.events.asgi_connection import Connection
from tests.events.conftest import entry, until


@pytest.fixture(autouse=True, params=[False, True], ids=["awaited", "at once"])
def _server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "writes_at_once", request.param)


class Failure(Exception):
    pass


class Responding(LongResponseConsumer):
    """Answers as a test says, and counts its disconnects."""

    def __init__(self, respond: Callable[["Responding", bytes], Awaitable[None]]) -> None:
        super().__init__()
        self.disconnects = 0
        self.responses_ended = 0
        self._respond = respond

    async def respond(self, body: bytes) -> None:
        try:
            await self._respond(self, body)
        finally:
            self.responses_ended += 1

    async def disconnect(self) -> None:
        self.disconnects += 1


async def echoes(consumer: Responding, body: bytes) -> None:
    await consumer.send_response(200, body)


async def never_ends(consumer: Responding, body: bytes) -> None:
    await consumer.send_headers(status=200)
    await consumer.send_body(b"begun", more_body=True)
    await asyncio.Event().wait()


async def raises_at_once(consumer: Responding, body: bytes) -> None:
    raise Failure


async def raises_in_mid_stream(consumer: Responding, body: bytes) -> None:
    await consumer.send_headers(status=200)
    await consumer.send_body(b"begun", more_body=True)
    raise Failure


async def runs_out_of_time(consumer: Responding, body: bytes) -> None:
    async with asyncio.timeout(0):
        await never_ends(consumer, body)


# --- every way out ---


async def test_a_response_that_ends_by_itself_is_followed_by_one_disconnect() -> None:
    consumer = Responding(echoes)
    connection = Connection(consumer, b"the body ", b"in ", b"pieces")
    await connection.ended()
    assert (connection.status, connection.body, connection.finished) == (200, b"the body in pieces", True)
    assert (consumer.disconnects, consumer.responses_ended) == (1, 1)


async def test_a_client_that_leaves_is_noticed_at_once() -> None:
    consumer = Responding(never_ends)
    connection = Connection(consumer)
    await until(lambda: connection.body)
    connection.leaves()
    for _ in range(10):  # turns of the loop, no time
        await asyncio.sleep(0)
    assert connection.app.done()
    assert (consumer.disconnects, consumer.responses_ended) == (1, 1)
    assert not connection.finished


async def test_a_client_that_leaves_before_its_request_is_complete_gets_no_response() -> None:
    consumer = Responding(echoes)
    connection = Connection(consumer, b"half", complete=False)
    connection.leaves()
    await connection.ended()
    assert connection.status is None
    assert (consumer.disconnects, consumer.responses_ended) == (1, 0)


@pytest.mark.parametrize("respond", [raises_at_once, raises_in_mid_stream, runs_out_of_time])
async def test_what_a_response_raises_comes_out_after_one_disconnect(
    respond: Callable[[Responding, bytes], Awaitable[None]],
) -> None:
    consumer = Responding(respond)
    connection = Connection(consumer)
    with pytest.raises((Failure, TimeoutError)):
        await connection.ended()
    assert (consumer.disconnects, consumer.responses_ended) == (1, 1)


async def test_a_server_that_cancels_again_and_again_gets_one_disconnect_and_no_task_is_left() -> None:
    cleaning = asyncio.Event()

    async def cleans_up_slowly(consumer: Responding, body: bytes) -> None:
        try:
            await never_ends(consumer, body)
        finally:
            cleaning.set()
            await asyncio.Event().wait()

    before = asyncio.all_tasks()
    consumer = Responding(cleans_up_slowly)
    connection = Connection(consumer)
    await until(lambda: connection.body)
    connection.app.cancel()
    await cleaning.wait()
    for _ in range(3):
        connection.app.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([connection.app], timeout=5)
    assert connection.app.cancelled()
    await until(lambda: asyncio.all_tasks() == before)
    assert (consumer.disconnects, consumer.responses_ended) == (1, 1)


async def test_a_server_that_cancels_before_the_request_is_complete_gets_one_disconnect() -> None:
    consumer = Responding(echoes)
    connection = Connection(consumer, b"half", complete=False)
    await asyncio.sleep(0)
    connection.app.cancel()
    await asyncio.wait([connection.app], timeout=5)
    assert connection.app.cancelled()
    assert (consumer.disconnects, consumer.responses_ended) == (1, 0)


async def test_a_client_that_leaves_while_the_response_raises_gets_one_disconnect() -> None:
    consumer = Responding(raises_in_mid_stream)
    connection = Connection(consumer)
    connection.leaves()
    await asyncio.wait([connection.app], timeout=5)
    assert isinstance(connection.app.exception(), Failure | None)
    assert consumer.disconnects == 1


# --- a viewer's response ---


class Following(EventStreamConsumer):
    """Follows one session with whatever a test sets."""

    last = ""
    unwanted = ""

    def __init__(
        self, bus: EventBus, session_id: UUID, after: int = 0, first: Literal["", "first", "reset"] = ""
    ) -> None:
        super().__init__()
        self.disconnects = 0
        self.is_allowed = True
        self.snapshot_seq = 0
        self._bus, self._session_id, self._after, self._first = bus, session_id, after, first

    async def respond(self, body: bytes) -> None:
        viewer = self.viewer = self._bus.viewer(self._session_id, self._after)
        await viewer.join()
        await self.follow(viewer, snapshot=self._first)

    async def snapshot(self) -> tuple[int, dict[str, Any]]:
        return self.snapshot_seq, {"messages": []}

    async def allowed(self) -> bool:
        return self.is_allowed

    def wants(self, event: Event) -> bool:
        return event.data != self.unwanted

    def is_last(self, event: Event) -> bool:
        return event.data == self.last

    def on_signal(self, signal: Signal) -> bytes | None:
        return sse.encode_frame("told", signal.data) if signal.name == "tell" else None

    async def disconnect(self) -> None:
        self.disconnects += 1
        await super().disconnect()


@pytest.fixture
async def hub(bus: EventBus) -> AsyncIterator[Hub]:
    """In the end nobody listens any more."""
    yield bus.hub
    assert bus.hub.viewers == 0
    assert bus.hub.listeners == {}
    await until(lambda: not bus.hub.layer.groups)


def texts(connection: Connection) -> list[tuple[str | None, str]]:
    return [(frame.id, frame.data) for frame in connection.of("test.text")]


async def test_a_viewer_is_given_all_after_its_cursor_with_ids(
    hub: Hub, bus: EventBus, session_id: UUID, no_checks: None
) -> None:
    await bus.log.append(session_id, [entry("1"), entry("2")])
    connection = Connection(Following(bus, session_id, after=1))
    await connection.has(1)
    await bus.log.append(session_id, [entry("3")])
    await connection.has(2)
    assert connection.status == 200
    assert connection.headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert connection.headers[b"cache-control"] == b"no-store, no-transform"
    assert connection.headers[b"x-accel-buffering"] == b"no"
    assert connection.body.startswith(b"retry: ")
    assert texts(connection) == [("2", '"2"'), ("3", '"3"')]
    connection.leaves()
    await connection.ended()


async def test_something_is_on_the_wire_before_the_first_event(hub: Hub, bus: EventBus, session_id: UUID) -> None:
    connection = Connection(Following(bus, session_id))
    await until(lambda: connection.body)
    assert connection.frames == []
    connection.leaves()
    await connection.ended()


async def test_a_log_that_cannot_be_read_for_a_moment_breaks_no_response_off(
    hub: Hub, bus: EventBus, session_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "_READ_AGAIN_SECONDS", 0.01)
    read, failures = bus.log.read, [StorageUnavailable(), StorageUnavailable()]

    async def fails_twice(*arguments: Any) -> log_reading.Page:
        if failures:
            raise failures.pop()
        return await read(*arguments)

    monkeypatch.setattr(bus.log, "read", fails_twice)
    await bus.log.append(session_id, [entry("1")])
    connection = Connection(Following(bus, session_id))
    await connection.has(1)
    assert failures == []
    connection.leaves()
    await connection.ended()


async def test_a_viewer_that_leaves_leaves_the_hub_at_once(hub: Hub, bus: EventBus, session_id: UUID) -> None:
    consumer = Following(bus, session_id)
    connection = Connection(consumer)
    await until(lambda: connection.body)
    assert hub.viewers == 1
    connection.leaves()
    await connection.ended()
    assert (hub.viewers, consumer.disconnects) == (0, 1)


async def test_a_client_that_leaves_while_it_joins_leaves_nothing(hub: Hub, bus: EventBus, session_id: UUID) -> None:
    for turns in range(6):
        connection = Connection(Following(bus, session_id))
        for _ in range(turns):
            await asyncio.sleep(0)
        connection.leaves()
        await connection.ended()
        assert hub.viewers == 0


async def test_the_last_event_ends_the_response_and_nothing_follows(hub: Hub, bus: EventBus, session_id: UUID) -> None:
    consumer = Following(bus, session_id)
    consumer.last = '"end"'
    await bus.log.append(session_id, [entry("1"), entry("end"), entry("after")])
    connection = Connection(consumer)
    await connection.ended()
    assert [data for _, data in texts(connection)] == ['"1"', '"end"']
    assert connection.finished


async def test_events_that_are_not_wanted_are_left_out(hub: Hub, bus: EventBus, session_id: UUID) -> None:
    consumer = Following(bus, session_id)
    consumer.unwanted, consumer.last = '"unwanted"', '"end"'
    await bus.log.append(session_id, [entry("1"), entry("unwanted"), entry("end")])
    connection = Connection(consumer)
    await connection.ended()
    assert texts(connection) == [("1", '"1"'), ("3", '"end"')]


async def test_a_signal_may_end_the_response_with_a_frame_without_id(hub: Hub, bus: EventBus, session_id: UUID) -> None:
    connection = Connection(Following(bus, session_id))
    await until(lambda: connection.body)
    bus.signal(session_id, "tell", '"this"')
    bus.signal(session_id, "other", "")
    await connection.ended()
    assert [(frame.event, frame.data, frame.id) for frame in connection.frames] == [("told", '"this"', None)]
    assert connection.finished


async def test_what_fails_on_an_event_ends_the_response_of_its_viewer_and_no_other(
    no_checks: None, hub: Hub, bus: EventBus, session_id: UUID
) -> None:
    class Fails(Following):
        def is_last(self, event: Event) -> bool:
            raise Failure

    consumers = [Fails(bus, session_id), Following(bus, session_id)]
    failing, other = map(Connection, consumers)
    await until(lambda: all(consumer.viewer is not None and consumer.viewer._is_idle for consumer in consumers))
    await bus.log.append(session_id, [entry("1")])
    await other.has(1)
    with pytest.raises(Failure):
        await failing.ended()
    other.leaves()
    await other.ended()


# --- limits ---


async def test_after_so_many_bytes_the_response_ends_between_two_events_and_the_next_goes_on(
    hub: Hub, bus: EventBus, session_id: UUID, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EVENTS_MAX_CONNECTION_BYTES = 1000
    monkeypatch.setattr(log_reading, "PAGE_CHARACTERS", 300)
    await bus.log.append(session_id, [entry("x" * 100) for _ in range(50)])
    seqs: list[int] = []
    for _ in range(5):
        connection = Connection(Following(bus, session_id, after=len(seqs)))
        await connection.ended()
        assert connection.finished
        assert connection.body.endswith(b"\n\n")
        assert 1000 <= len(connection.body) < 1500
        seqs += [int(frame.id or 0) for frame in connection.frames]
    assert seqs == list(range(1, len(seqs) + 1))


async def test_what_comes_piece_by_piece_counts_towards_the_limit_however_it_is_written(
    hub: Hub, bus: EventBus, session_id: UUID, settings: Settings
) -> None:
    settings.EVENTS_MAX_CONNECTION_BYTES = 500
    consumer = Following(bus, session_id)
    connection = Connection(consumer)
    await until(lambda: connection.status == 200)
    while consumer.sent_bytes < 500:
        count = len(connection.frames) + 1
        await bus.log.append(session_id, [entry("x" * 20)])
        await connection.has(count)
    await connection.ended()
    assert [frame.id for frame in connection.frames] == [str(seq) for seq in range(1, len(connection.frames) + 1)]
    assert 500 <= len(connection.body) < 700
    assert bool(connection.at_once) == Connection.writes_at_once


async def test_after_so_many_seconds_the_response_ends(
    hub: Hub, bus: EventBus, session_id: UUID, settings: Settings
) -> None:
    settings.EVENTS_MAX_CONNECTION_SECONDS = 0.05  # long before the first heartbeat
    connection = Connection(Following(bus, session_id))
    await connection.ended()
    assert connection.finished
    assert connection.frames == []


async def test_what_cannot_be_resumed_has_no_limits(
    hub: Hub, bus: EventBus, session_id: UUID, settings: Settings
) -> None:
    settings.EVENTS_MAX_CONNECTION_BYTES, settings.EVENTS_MAX_CONNECTION_SECONDS = 1, 0.001
    settings.EVENTS_HEARTBEAT_SECONDS = 0.01
    consumer = Following(bus, session_id)
    consumer.limited, consumer.last = False, '"end"'
    connection = Connection(consumer)
    await connection.has(3, "ping")
    await bus.log.append(session_id, [entry("1"), entry("end")])
    await connection.ended()
    assert len(texts(connection)) == 2


async def test_viewers_that_wait_for_news_end_when_the_process_lets_them_go(
    hub: Hub, bus: EventBus, session_id: UUID
) -> None:
    connection = Connection(Following(bus, session_id))
    await until(lambda: connection.body)
    async with asyncio.timeout(5):
        await hub.release()
    await connection.ended()
    assert connection.finished


@pytest.mark.parametrize("limited", [True, False])
async def test_who_still_reads_the_log_when_the_process_ends_is_ended_or_broken_off(
    hub: Hub, bus: EventBus, session_id: UUID, limited: bool
) -> None:
    consumer = Following(bus, session_id)
    consumer.limited = limited
    connection = Connection(consumer)
    await until(lambda: consumer.viewer is not None and consumer.viewer._is_idle)
    await bus.log.aclose()
    consumer.viewer.on_loss()  # type: ignore[union-attr]
    if limited:
        await connection.ended()
    else:
        with pytest.raises(BusClosed):
            await connection.ended()
    assert connection.finished == limited


# --- heartbeats ---


async def test_each_heartbeat_says_where_the_log_stands_and_has_no_id(
    hub: Hub, bus: EventBus, session_id: UUID, settings: Settings
) -> None:
    settings.EVENTS_HEARTBEAT_SECONDS = 0.02
    await bus.log.append(session_id, [entry("1"), entry("2")])
    connection = Connection(Following(bus, session_id))
    await connection.has(2, "ping")
    hub.heads[session_id] = 7  # it was seen, and has not come
    known = len(connection.of("ping"))
    await connection.has(known + 2, "ping")
    pings = connection.of("ping")
    assert {frame.id for frame in pings} == {None}
    assert json.loads(pings[0].data) == {"seq": 2}
    assert json.loads(pings[-1].data) == {"seq": 7}
    connection.leaves()
    await connection.ended()


async def test_heartbeats_go_on_while_events_come(
    hub: Hub, bus: EventBus, session_id: UUID, settings: Settings
) -> None:
    settings.EVENTS_HEARTBEAT_SECONDS = 0.02
    connection = Connection(Following(bus, session_id))
    while len(connection.of("ping")) < 5:
        await bus.log.append(session_id, [entry()])
    connection.leaves()
    await connection.ended()


async def test_a_timer_that_comes_a_little_early_loses_neither_a_heartbeat_nor_the_end(
    hub: Hub, bus: EventBus, session_id: UUID, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of uvloop do. Whoever then asks the clock and finds it too early would wait for ever."""
    settings.EVENTS_HEARTBEAT_SECONDS = 0.02
    settings.EVENTS_MAX_CONNECTION_SECONDS = 0.09
    loop = asyncio.get_running_loop()
    on_time = loop.call_at
    monkeypatch.setattr(loop, "call_at", lambda at, *arguments, **options: on_time(at - 5e-4, *arguments, **options))
    connection = Connection(Following(bus, session_id))
    await connection.ended()
    assert connection.finished
    assert len(connection.of("ping")) >= 3


async def test_a_lost_permission_ends_the_response_at_the_next_heartbeat(
    hub: Hub, bus: EventBus, session_id: UUID, settings: Settings
) -> None:
    settings.EVENTS_HEARTBEAT_SECONDS = 0.02
    consumer = Following(bus, session_id)
    connection = Connection(consumer)
    await connection.has(2, "ping")
    consumer.is_allowed = False
    await connection.ended()
    assert connection.finished


# --- snapshots ---


async def test_who_comes_without_a_cursor_is_given_a_snapshot_and_what_follows_it(
    hub: Hub, bus: EventBus, session_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows comes from the hub: the snapshot was read after the viewer had joined, the log has nothing new."""
    await bus.log.append(session_id, [entry("1"), entry("2")])
    monkeypatch.setattr(bus.log, "read", None)  # it would fail
    consumer = Following(bus, session_id, first="first")
    consumer.snapshot_seq = 2
    connection = Connection(consumer)
    await connection.has(1, "snapshot")
    await bus.log.append(session_id, [entry("3")])
    await connection.has(1)
    snapshot, event = connection.frames
    assert (snapshot.event, snapshot.id, json.loads(snapshot.data)) == ("snapshot", "2", {"messages": []})
    assert (event.id, event.data) == ("3", '"3"')
    connection.leaves()
    await connection.ended()


@pytest.mark.parametrize("is_lost", [False, True], ids=["heard", "missed"])
async def test_what_happens_while_a_snapshot_is_read_is_in_it_or_follows(
    hub: Hub, bus: EventBus, session_id: UUID, is_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Snapping(Following):
        async def snapshot(self) -> tuple[int, dict[str, Any]]:
            if is_lost:
                monkeypatch.setattr(hub, "_hand_on", lambda news: None)  # nobody is told
            await bus.log.append(session_id, [entry("1"), entry("2"), entry("3")])
            assert self.viewer is not None
            if is_lost:
                self.viewer.on_loss()
            else:
                await until(lambda: self.viewer is not None and self.viewer.queued == 3)
            return 2, {}

    connection = Connection(Snapping(bus, session_id, first="first"))
    await connection.has(1)
    assert [frame.id for frame in connection.frames] == ["2", "3"]
    connection.leaves()
    await connection.ended()


def prune(session_id: UUID, upto: int) -> Callable[[LogTransaction], Any]:
    return lambda _: StoredEvent.objects.filter(session_id=session_id, seq__lte=upto).delete()


@pytest.mark.parametrize(("after", "pruned"), [(99, 0), (1, 2)], ids=["beyond the head", "pruned"])
async def test_a_cursor_that_leads_nowhere_is_reset_with_a_snapshot(
    hub: Hub, bus: EventBus, session_id: UUID, after: int, pruned: int
) -> None:
    await bus.log.append(session_id, [entry("1"), entry("2"), entry("3"), entry("4")])
    await bus.log.transaction(prune(session_id, pruned))
    consumer = Following(bus, session_id, after=after)
    consumer.snapshot_seq = 3
    connection = Connection(consumer)
    await connection.has(1)
    snapshot, event = connection.frames
    assert (snapshot.id, json.loads(snapshot.data)["reset"]) == ("3", True)
    assert event.id == "4"
    connection.leaves()
    await connection.ended()


async def test_what_is_pruned_before_a_slow_viewer_reads_it_is_reset_with_a_snapshot(
    hub: Hub, bus: EventBus, session_id: UUID
) -> None:
    await bus.log.append(session_id, [entry("1")])
    consumer = Following(bus, session_id)
    connection = Connection(consumer)
    await connection.has(1)
    connection.reads.clear()
    for _ in range(3):
        await bus.log.append(session_id, [entry("x") for _ in range(200)])
    await until(lambda: consumer.viewer is not None and consumer.viewer.queued > 0)
    await bus.log.transaction(prune(session_id, 600))
    consumer.snapshot_seq = 600
    connection.reads.set()
    await connection.has(1, "snapshot")
    await until(lambda: connection.frames[-1].id == "601")
    ids = [int(frame.id or 0) for frame in connection.frames]
    assert ids == sorted(ids)
    connection.leaves()
    await connection.ended()


# --- what must not delay it ---


async def test_a_slow_query_on_the_shared_database_thread_delays_nobody(
    hub: Hub, bus: EventBus, session_id: UUID
) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def slow_query() -> None:
        busy.set()
        go_on.wait()

    querying = asyncio.ensure_future(sync_to_async(slow_query)())
    try:
        await until(busy.is_set)
        connection = Connection(Following(bus, session_id))
        await bus.log.append(session_id, [entry()])
        await connection.has(1)
        connection.leaves()
        await connection.ended()
        assert not querying.done()
    finally:
        go_on.set()
        await querying


async def test_a_client_that_does_not_read_costs_no_more_than_its_queue_and_misses_nothing(
    hub: Hub, bus: EventBus, session_id: UUID
) -> None:
    consumer = Following(bus, session_id)
    connection = Connection(consumer)
    await until(lambda: connection.body)
    connection.reads.clear()
    async with asyncio.timeout(10):
        for _ in range(10):
            await bus.log.append(session_id, [entry() for _ in range(100)])
    assert consumer.viewer is not None
    await until(lambda: consumer.viewer is not None and consumer.viewer.queued > 0)
    assert consumer.viewer.queued <= 256
    connection.reads.set()
    await connection.has(1000)
    assert [int(frame.id or 0) for frame in connection.frames] == list(range(1, 1001))
    connection.leaves()
    await connection.ended()
