"""One channel, one receive loop a process: joined to the group of each session that somebody here listens to.

The layer may lose anything at any time. So the hub tells its listeners when it may have (`on_loss`), and every second
compares their cursors with the heads of the log, in one query. It lives through the layer's absence: `membership.py`.
"""

import asyncio
import random
import time
from collections.abc import Callable, Collection
from typing import Any, Protocol
from uuid import UUID

import structlog
from channels.layers import get_channel_layer

from events.burst import Burst
from events.conf import conf
from events.core import sse
from events.core.event import Event
from events.event_log import EventLog
from events.exceptions import BusClosed, StorageUnavailable, TooManyViewers
from events.groups import LayerMessage, Signal, event_message, group_name, parse, signal_message
from events.log_writing import Committed
from events.membership import LAYER_TIMEOUT_SECONDS, Membership

logger = structlog.get_logger(__name__)

CHECK_SECONDS = 1.0
# What is in the log then may be on its way, and a busy process that read it all would be lost. Who is given anything
# meanwhile needs no help: a gap shows itself.
ON_THE_WAY_SECONDS = 0.5
_REPAIRS = 2  # reads at a time for viewers that missed something: all have, at once; the other readers are for the rest
_MESSAGE_BYTES = 500  # of an announcement, beside its data


class Listener(Protocol):
    """Who is told what happens in one session. The methods return at once and never raise."""

    session_id: UUID

    @property
    def cursor_seq(self) -> int | None:
        """The last seq it has been given; None: it does not follow the log."""
        ...

    def on_event(self, event: Event, frame: bytes) -> None: ...

    def on_signal(self, signal: Signal) -> None: ...

    def on_loss(self) -> None: ...


class Hub:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self.layer: Any = get_channel_layer()
        self.listeners: dict[UUID, set[Listener]] = {}
        self.membership = Membership(self.layer, self.listeners.keys())
        self.viewers = 0
        self.closing = False
        self.heads: dict[UUID, int] = {}  # as far as is known here, of sessions that are listened to
        self._by_hex: dict[str, set[Listener]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.repairing = asyncio.Semaphore(_REPAIRS)
        self._announcements: list[tuple[str, LayerMessage]] = []
        self._announced_bytes = 0
        self._announcing, self._announced = asyncio.Event(), asyncio.Event()
        self._overflows = 0
        self._no_viewers = asyncio.Event()

    def start(self, log: EventLog) -> None:
        self._log = log
        for coroutine in (self._receive(), self._announce(), self._check_often(), self.membership.keep()):
            self._spawn(coroutine)

    async def join(self, listener: Listener) -> None:
        """From its return on, the listener is told; what happened before is in the log. Leave it again, always.

        Raises TooManyViewers. As long as the layer is away, or has not heard of it, the check serves the listener.
        """
        if listener.cursor_seq is not None:
            if self.viewers >= conf.max_viewers:
                raise TooManyViewers
            self.viewers += 1
        listeners = self.listeners.setdefault(listener.session_id, set())
        self._by_hex[listener.session_id.hex] = listeners
        listeners.add(listener)
        await self.membership.settle(listener.session_id)

    def leave(self, listener: Listener) -> None:
        """With its last listener the session's group is discarded, in the background. Idempotent."""
        listeners = self.listeners.get(listener.session_id)
        if listeners is None or listener not in listeners:
            return
        listeners.discard(listener)
        if listener.cursor_seq is not None:
            self.viewers -= 1
            if self.closing and not self.viewers:
                self._no_viewers.set()
        if not listeners:
            del self.listeners[listener.session_id], self._by_hex[listener.session_id.hex]
            self.heads.pop(listener.session_id, None)
            self._spawn(self.membership.settle(listener.session_id))

    def announce(self, committed: Committed) -> None:
        """Tells the groups of events that are durable now, in their order."""
        self._send([(group_name(session_id), event_message(session_id, event)) for session_id, event in committed])

    def signal(self, session_id: UUID, signal: Signal) -> None:
        """Tells the session's group something that is not stored."""
        self._send([(group_name(session_id), signal_message(session_id, signal))])

    async def release(self) -> None:
        """Lets the viewers go: their responses end cleanly, and they come back to another process."""
        self.closing = True
        self._lose(list(self.listeners))
        if self.viewers:
            await self._no_viewers.wait()

    async def aclose(self) -> None:
        """Sends what is announced, discards the groups and ends the loops. A layer that is away is not waited for."""
        self.listeners.clear()
        self._by_hex.clear()
        if not self.membership.away:
            await self.membership.call(self._announced.wait())
        if not self.membership.away:
            await self.membership.settle_all()
        for task in self._tasks:
            task.cancel()
        if self._tasks:  # the core layer's `receive` may swallow a cancellation after its connection broke
            await asyncio.wait(self._tasks, timeout=LAYER_TIMEOUT_SECONDS)

    # --- inside ---

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _send(self, messages: list[tuple[str, LayerMessage]]) -> None:
        size_bytes = sum(_MESSAGE_BYTES + len(message["data"]) for _, message in messages)
        if self._announced_bytes + size_bytes > conf.max_announced_bytes:
            logger.warning("announcements_dropped", count=len(messages))
            return
        self._announced_bytes += size_bytes
        self._announcements += messages
        self._announced.clear()
        self._announcing.set()

    async def _announce(self) -> None:
        while True:
            self._announced.set()
            await self._announcing.wait()
            self._announcing.clear()
            while self._announcements:
                messages, self._announcements = self._announcements, []
                self._announced_bytes = 0
                try:
                    await self.membership.send(messages)
                except Exception:  # one message must not make the whole process dumb
                    logger.exception("announcements_failed")

    async def _receive(self) -> None:
        burst = Burst()
        while True:
            try:
                if not self.membership.channel:
                    await self.membership.open_channel()
                    await self.membership.settle_all()
                messages = await self.membership.receive()
                self._look_for_overflows()
            except Exception as error:
                self.membership.failed(error)
                self._lose(list(self.listeners))
                await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311  (all processes met the same error)
                continue
            begun = time.monotonic()
            for message in messages:
                try:
                    self._hand_over(message)
                except Exception:  # one message must not make the whole process deaf
                    logger.exception("layer_message_failed")
                ended = time.monotonic()
                if burst.is_over(ended - begun):  # `receive` waits only if there is no message
                    await burst.give_way()
                    ended = time.monotonic()
                begun = ended

    def _look_for_overflows(self) -> None:
        overflows = getattr(self.layer, "overflows", None)
        if overflows is not None and overflows(self.membership.channel) != self._overflows:
            self._overflows = overflows(self.membership.channel)
            logger.warning("layer_overflow", total=self._overflows)
            self._lose(list(self.listeners))

    def _hand_over(self, message: dict[str, Any]) -> None:
        parsed = parse(message)
        if parsed is None:
            logger.warning("layer_message_unknown")
            return
        session_hex, news = parsed
        listeners = self._by_hex.get(session_hex)
        if not listeners:
            return
        if isinstance(news, Event):
            frame = sse.encode(news)  # once a process, not once a viewer
            for listener in tuple(listeners):
                try:
                    listener.on_event(news, frame)
                except Exception:
                    _failed()
        else:
            _tell_each(listeners, lambda listener: listener.on_signal(news))

    def _lose(self, session_ids: list[UUID]) -> None:
        for session_id in session_ids:
            _tell_each(self.listeners.get(session_id, ()), lambda listener: listener.on_loss())

    async def _check_often(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self._check()
            except StorageUnavailable as error:
                logger.warning("heads_unreadable", err=repr(error.__cause__))
            except BusClosed:
                return
            except Exception:  # without the check a lost message would be lost
                logger.exception("check_failed")

    async def _check(self) -> None:
        if not self.viewers:
            return
        heads = await self._log.heads(list(self.listeners))
        self.heads.update((session_id, head) for session_id, head in heads.items() if session_id in self.listeners)
        behind = [
            (listener, listener.cursor_seq)
            for session_id, head in heads.items()
            for listener in self.listeners.get(session_id, ())
            if listener.cursor_seq is not None and listener.cursor_seq < head
        ]
        if behind:
            await asyncio.sleep(ON_THE_WAY_SECONDS)
        for listener, seq in behind:
            if listener.cursor_seq == seq:
                listener.on_loss()


def _tell_each(listeners: Collection[Listener], tell: Callable[[Listener], None]) -> None:
    for listener in tuple(listeners):
        try:
            tell(listener)
        except Exception:
            _failed()


def _failed() -> None:
    """It is one's own misfortune, not that of the others in the session."""
    logger.exception("listener_failed")
