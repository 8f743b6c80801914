"""The event bus of one process: `publish` stores an event and tells every viewer, whatever process they are in.

One bus belongs to one event loop; `current()` makes it on first use, since Daphne sends no lifespan events
(django/daphne#570).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog
from asgiref.sync import async_to_sync

from events.conf import conf
from events.core.event import encode_data
from events.core.pace import Pace
from events.event_log import EventLog
from events.gate import Gate
from events.groups import Signal
from events.hub import Hub
from events.log_transaction import Entry, LogTransaction
from events.timers import Timers
from events.viewer import Viewer

logger = structlog.get_logger(__name__)
T = TypeVar("T")

# Of streams: an end takes some milliseconds in all, and a thousand in one moment would make everybody's text late.
_ENDS_AT_ONCE, _END_WAITS_SECONDS = 4, 1.0


class EventBus:
    """Log, hub and publishers, put together."""

    def __init__(self) -> None:
        self.closed = False
        self.hub = Hub()
        self.log = EventLog(self.hub.announce)
        self.hub.start(self.log)
        self.timers = Timers(Pace(conf.flush_interval_seconds, conf.flush_longest_seconds))
        self.ends = Gate(_ENDS_AT_ONCE, _END_WAITS_SECONDS)

    @property
    def is_alone(self) -> bool:
        """Whether no other process hears of what happens here, nor this one of what happens elsewhere."""
        return self.hub.membership.is_alone

    async def publish(self, session_id: UUID, type: str, data: Mapping[str, Any]) -> int:
        """One event of the session itself, not of a stream: its seq, once it is durable."""
        seq = await self.log.append(session_id, [Entry(type, encode_data(data))])
        assert seq is not None  # without a turn nothing is refused
        return seq

    async def transaction(
        self,
        work: Callable[[LogTransaction], T],
        on_doubt: Callable[[], None] | None = None,
        *,
        gives_way: bool = False,
    ) -> T:
        """See `EventLog.transaction`."""
        return await self.log.transaction(work, on_doubt, gives_way=gives_way)

    def signal(self, session_id: UUID, name: str, data: str) -> None:
        """News to whoever listens to the session, in any process; may be lost."""
        self.hub.signal(session_id, Signal(name, data))

    def viewer(self, session_id: UUID, after: int) -> Viewer:
        return Viewer(self.hub, self.log, session_id, after)

    async def aclose(self) -> None:
        """Writes what waits, discards the groups, ends tasks and threads. Idempotent."""
        if self.closed:
            return
        self.closed = True
        try:
            await self.log.aclose()
        finally:
            try:
                await self.hub.aclose()
            finally:
                logger.info("events_bus_closed")


_buses: WeakKeyDictionary[asyncio.AbstractEventLoop, EventBus] = WeakKeyDictionary()


def current() -> EventBus:
    """The running loop's bus; a closed one stays, and refuses (BusClosed) who comes too late."""
    loop = asyncio.get_running_loop()
    bus = _buses.get(loop)
    if bus is None:
        bus = _buses[loop] = EventBus()
    return bus


def exists() -> bool:
    """Whether the running loop has a bus that is open."""
    try:
        bus = _buses.get(asyncio.get_running_loop())
    except RuntimeError:
        return False
    return bus is not None and not bus.closed


async def close_current() -> None:
    """Closes the running loop's bus, if it has one."""
    if bus := _buses.get(asyncio.get_running_loop()):
        await bus.aclose()


@asynccontextmanager
async def for_this_call() -> AsyncIterator[EventBus]:
    """The running loop's bus; on a loop that has none, one for this block alone, that nobody else can get hold of."""
    if bus := _buses.get(asyncio.get_running_loop()):
        yield bus
        return
    bus = EventBus()
    try:
        yield bus
    finally:
        await bus.aclose()


def publish(session_id: UUID, type: str, data: Mapping[str, Any]) -> int:
    """`EventBus.publish` for code that is not async (the shell, a command): the event is stored before it returns.

    From a thread under Daphne it uses the server's loop. Elsewhere it makes a bus for this one call; then only
    processes behind a shared channel layer hear of it at once, the others within two seconds.
    """
    return async_to_sync(_publish)(session_id, type, data)


async def _publish(session_id: UUID, type: str, data: Mapping[str, Any]) -> int:
    async with for_this_call() as bus:
        return await bus.publish(session_id, type, data)
