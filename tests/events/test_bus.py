"""The bus: log, hub and viewers put together; one a loop, from async code and from any other."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from structlog.testing import capture_logs

from events import bus as event_bus
from events.bus import EventBus
from events.core.event import Event
from events.exceptions import BusClosed, StorageUnavailable
from events.log_transaction import Along, Entry, First, LogTransaction
from events.models import StoredEvent
from events.publisher import BatchingPublisher
from tests.events.conftest import Reader, until


def stored(session_id: UUID) -> list[tuple[int, str, str]]:
    rows = StoredEvent.objects.filter(session_id=session_id).order_by("seq")
    return list(rows.values_list("seq", "type", "data"))


# --- publish ---


async def test_publish_stores_an_event_and_tells_viewers(no_checks: None, bus: EventBus, session_id: UUID) -> None:
    async with Reader(bus.viewer(session_id, 0)) as reader:
        assert await bus.publish(session_id, "renamed", {"title": "é\n"}) == 1
        await reader.has(1)
        assert reader.events == [Event(1, "renamed", '{"title":"é\\n"}')]


async def test_publish_from_a_thread_under_the_server_uses_its_bus(
    no_checks: None, bus: EventBus, session_id: UUID
) -> None:
    async with Reader(bus.viewer(session_id, 0)) as reader:
        for seq in range(1, 4):
            assert await sync_to_async(event_bus.publish)(session_id, "test", {}) == seq
        await reader.has(3)
        assert event_bus.current() is bus
        assert (await bus.log.read(session_id, 0)).head == 3  # it is still open


def test_publish_without_a_loop_stores_the_event_and_leaves_nothing(transactional_db: None, session_id: UUID) -> None:
    threads = set(threading.enumerate())
    assert event_bus.publish(session_id, "test", {"n": 1}) == 1
    assert event_bus.publish(session_id, "test", {"n": 2}) == 2
    assert stored(session_id) == [(1, "test", '{"n":1}'), (2, "test", '{"n":2}')]
    for thread in set(threading.enumerate()) - threads:
        thread.join(5)
    assert set(threading.enumerate()) <= threads


async def test_a_publish_that_comes_first_does_not_close_the_bus_that_others_got_meanwhile(
    transactional_db: None, session_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()
    publish = EventBus.publish

    async def takes_its_time(bus: EventBus, session_id: UUID, type: str, data: Mapping[str, Any]) -> int:
        began.set()
        await go_on.wait()
        return await publish(bus, session_id, type, data)

    with monkeypatch.context() as patched:
        patched.setattr(EventBus, "publish", takes_its_time)
        publishing = asyncio.ensure_future(sync_to_async(event_bus.publish)(session_id, "test", {}))
        await began.wait()
    others = event_bus.current()
    go_on.set()
    assert await publishing == 1
    assert await others.publish(session_id, "test", {}) == 2
    await event_bus.close_current()


async def test_a_bus_for_one_call_is_the_current_one_if_there_is_one(bus: EventBus) -> None:
    async with event_bus.for_this_call() as same:
        assert same is bus
    await bus.publish(uuid4(), "test", {})  # it is still open


# --- one bus a loop ---


async def test_a_loop_has_one_bus_until_it_is_closed(transactional_db: None) -> None:
    assert not event_bus.exists()
    first = event_bus.current()
    assert event_bus.exists()
    assert event_bus.current() is first
    with capture_logs() as lines:
        await event_bus.close_current()
    assert {"event": "events_bus_closed", "log_level": "info"} in lines
    assert not event_bus.exists()
    with pytest.raises(BusClosed):
        await first.publish(uuid4(), "test", {})
    await event_bus.close_current()
    await first.aclose()


async def test_who_comes_after_the_end_gets_no_other_bus(transactional_db: None, session_id: UUID) -> None:
    closed = event_bus.current()
    await event_bus.close_current()
    threads = threading.active_count()
    late = event_bus.current()
    with pytest.raises(BusClosed):
        await late.publish(session_id, "test", {})
    with pytest.raises(BusClosed):
        await sync_to_async(event_bus.publish)(session_id, "test", {})
    with pytest.raises(BusClosed):
        await late.viewer(session_id, 0).next()
    assert late is closed
    assert threading.active_count() <= threads + 1  # asgiref's own


async def test_a_bus_that_cannot_be_closed_well_lets_go_of_the_rest(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = EventBus()
    before = len(asyncio.all_tasks())
    aclose = bus.log.aclose

    async def fails() -> None:
        await aclose()
        raise OSError("in between")

    monkeypatch.setattr(bus.log, "aclose", fails)
    with capture_logs() as lines, pytest.raises(OSError, match="in between"):
        await bus.aclose()
    assert {"event": "events_bus_closed", "log_level": "info"} in lines
    await until(lambda: len(asyncio.all_tasks()) < before)


def test_outside_of_a_loop_there_is_no_bus() -> None:
    assert not event_bus.exists()


async def test_a_closed_bus_leaves_no_task(transactional_db: None, session_id: UUID) -> None:
    before = asyncio.all_tasks()
    bus = EventBus()
    async with Reader(bus.viewer(session_id, 0)) as reader:
        await bus.publish(session_id, "test", {})
        await reader.has(1)
    await bus.aclose()
    assert asyncio.all_tasks() == before


def test_buses_of_two_loops_serve_their_viewers_and_one_session_in_common(
    frequent_checks: None, transactional_db: None
) -> None:
    shared, together = uuid4(), threading.Barrier(2)

    async def serve() -> tuple[list[int], list[str]]:
        bus, own = EventBus(), uuid4()
        async with Reader(bus.viewer(shared, 0)) as common, Reader(bus.viewer(own, 0)) as mine:
            together.wait()
            for _ in range(20):
                await bus.publish(shared, "test", {})
                await bus.publish(own, "test", {})
            await common.has(40)
            await mine.has(20)
        await bus.aclose()
        assert mine.seqs == list(range(1, 21))
        return common.seqs, [event.data for event in common.events]

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(asyncio.run, [serve(), serve()])
    assert one == other
    assert one[0] == list(range(1, 41))


# --- transactions ---


async def test_a_transaction_stores_with_its_events_what_else_it_writes(
    no_checks: None, bus: EventBus, session_id: UUID
) -> None:
    def work(log: LogTransaction) -> str:
        Group.objects.create(name="with the event")
        log.append(session_id, Entry("test", "{}"))
        return "what it returned"

    async with Reader(bus.viewer(session_id, 0)) as reader:
        assert await bus.transaction(work) == "what it returned"
        await reader.has(1)
    assert await bus.transaction(lambda _: Group.objects.count()) == 1


# --- a stream, on all real parts ---


class Stream:
    def __init__(self, bus: EventBus, session_id: UUID, turn: int) -> None:
        self.id = uuid4()
        self.turn = turn
        self.session_id = session_id
        self.troubles: list[StorageUnavailable | None] = []
        self.publisher = BatchingPublisher(
            bus.log,
            session_id,
            self.id,
            turn,
            text_type="text",
            encode=lambda text: f'"{text}"',
            before_first=lambda: First([Entry("streaming", "{}", self.id)], Along(store_groups, self.id.hex)),
            on_trouble=self.troubles.append,
            timers=bus.timers,
        )

    async def finish(self) -> int | None:
        def work(log: LogTransaction, entries: Sequence[Entry]) -> int | None:
            last = log.append(self.session_id, *entries, Entry("end", "{}", self.id), turn=self.turn)
            log.close_turn(self.session_id, self.turn)
            return last

        return await self.publisher.finish("flush_on_end", work, lambda: None)


def store_groups(log: LogTransaction, names: Sequence[str]) -> None:
    Group.objects.bulk_create([Group(name=name) for name in names])


async def test_all_viewers_of_a_stream_read_what_is_stored(no_checks: None, bus: EventBus, session_id: UUID) -> None:
    await bus.transaction(lambda log: log.open_turn(session_id, 1))
    stream = Stream(bus, session_id, 1)
    async with Reader(bus.viewer(session_id, 0)) as early:
        for number in range(300):
            stream.publisher.add(f"{number} ")
            await asyncio.sleep(0)
        async with Reader(bus.viewer(session_id, 0)) as late:
            last = await stream.finish()
            assert last is not None
            await early.has(last)
            await late.has(last)
            assert early.events == late.events
    texts = await bus.transaction(lambda log: log.data_of(session_id, stream.id, "text"))
    assert texts == [event.data for event in early.events if event.type == "text"]
    assert "".join(text.strip('"') for text in texts) == "".join(f"{number} " for number in range(300))
    assert [event.type for event in early.events][:2] == ["streaming", "text"]
    assert early.events[-1].type == "end"


async def test_a_stream_that_was_overtaken_before_its_first_token_leaves_no_trace(
    bus: EventBus, session_id: UUID
) -> None:
    await bus.transaction(lambda log: log.open_turn(session_id, 2))
    stream = Stream(bus, session_id, 1)
    stream.publisher.add("too late")
    await until(lambda: stream.troubles)
    assert stream.troubles == [None]
    assert await stream.finish() is None
    assert await bus.transaction(lambda _: Group.objects.count()) == 0
    assert (await bus.log.read(session_id, 0)).events == []


async def test_of_two_streams_that_fight_for_a_session_no_event_of_the_older_follows_the_newer(
    bus: EventBus, session_id: UUID
) -> None:
    await bus.transaction(lambda log: log.open_turn(session_id, 1))
    older = Stream(bus, session_id, 1)

    async def writes(stream: Stream) -> None:
        while not stream.troubles and len((await bus.log.read(session_id, 0)).events) < 30:
            stream.publisher.add("x" * 1500)
            await asyncio.sleep(0)

    writing = asyncio.ensure_future(writes(older))
    await until(lambda: older.publisher.batches >= 3)
    await bus.transaction(lambda log: log.open_turn(session_id, 2))
    newer = Stream(bus, session_id, 2)
    await asyncio.gather(writing, writes(newer))
    assert await older.finish() is None
    assert await newer.finish() is not None
    owners = [event.stream_id for event in (await bus.log.read(session_id, 0)).events]
    assert older.id.hex in owners
    assert older.id.hex not in owners[owners.index(newer.id.hex) :]
