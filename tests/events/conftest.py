"""What the tests of events share: a log, a bus, a database that somebody else has locked, waiting for conditions."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from uuid import UUID, uuid4

import pytest
from channels.layers import channel_layers
from django.db import connection, transaction

from events import bus as event_bus
from events import hub
from events.bus import EventBus
from events.core.event import Event
from events.event_log import EventLog
from events.log_transaction import Entry
from events.viewer import Lost, Viewer


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Lets everything else run until the condition holds; fails after `seconds`."""
    turns = 0
    async with asyncio.timeout(seconds):
        while not condition():  # of all kinds: this is the one place that polls
            await asyncio.sleep(0 if turns < 50 else 0.002)  # who only spins keeps the log's threads from the GIL
            turns += 1


def entry(text: str = "x", stream_id: UUID | None = None) -> Entry:
    return Entry("test.text", f'"{text}"', stream_id)


@pytest.fixture
def session_id() -> UUID:
    return uuid4()


@pytest.fixture
def sqlite_only() -> None:
    """For what is about SQLite's own files and locks. PostgreSQL has neither."""
    if connection.vendor != "sqlite":
        pytest.skip("about SQLite's write-ahead log; PostgreSQL keeps its own")


@pytest.fixture
def announced() -> list[tuple[UUID, Event]]:
    """What the log has told the world, in order."""
    return []


@pytest.fixture
async def log(transactional_db: None, announced: list[tuple[UUID, Event]]) -> AsyncIterator[EventLog]:
    made = EventLog(announced.extend)
    yield made
    await made.aclose()


@pytest.fixture
async def bus(transactional_db: None) -> AsyncIterator[EventBus]:
    """The running loop's bus, with the in-process layer."""
    channel_layers.backends.clear()
    yield event_bus.current()
    await event_bus.close_current()


@pytest.fixture
def no_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub never compares cursors with heads: what a viewer is given, it was told, or it read in time."""
    monkeypatch.setattr(hub, "CHECK_SECONDS", 1e6)


@pytest.fixture
def frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(hub, "ON_THE_WAY_SECONDS", 0.01)


class Reader:
    """A viewer, and whoever reads from it for as long as the block lasts."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.events: list[Event] = []
        self.lost = 0

    @property
    def seqs(self) -> list[int]:
        return [event.seq for event in self.events]

    async def __aenter__(self) -> "Reader":
        await self.viewer.join()
        self._task = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.viewer.leave()

    async def has(self, last: int) -> None:
        """Waits for the event with this seq."""
        await until(lambda: self.events and self.events[-1].seq >= last)

    async def _read(self) -> None:
        while True:
            delivered = await self.viewer.next()
            if isinstance(delivered, Lost):
                self.lost += 1
                return
            self.events += [event for event, _ in delivered]


class LockedDatabase:
    """Somebody else, who holds the lock that the log needs: SQLite's only one, or PostgreSQL's on the heads."""

    def __init__(self) -> None:
        self._locked, self._release = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold)

    async def lock(self) -> None:
        self._thread.start()
        await until(self._locked.is_set)

    def release(self) -> None:
        self._release.set()

    def end(self) -> None:
        self.release()
        if self._thread.ident is not None:
            self._thread.join()

    def _hold(self) -> None:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("LOCK TABLE events_head IN EXCLUSIVE MODE")
            self._locked.set()
            self._release.wait()
        connection.close()


@pytest.fixture
def locked_database(transactional_db: None) -> Iterator[LockedDatabase]:
    locked = LockedDatabase()
    yield locked
    locked.end()
