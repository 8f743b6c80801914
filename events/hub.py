"""One channel, one receive loop a process: joined to the group of each session that somebody here listens to.

What happens in this process is handed to who listens here without the layer, which brings it to all the others.

The layer may lose anything at any time. So the hub tells its listeners when it may have (`on_loss`), and every second
compares the cursors of those that hear nothing with the heads of the log, in one query. It lives through the layer's
absence: `membership.py`.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from channels.layers import get_channel_layer

from events.burst import Burst
from events.conf import conf
from events.event_log import EventLog
from events.exceptions import BusClosed, StorageUnavailable, TooManyViewers
from events.groups import Signal, event_message, group_name, parse, signal_message
from events.listeners import Listener, News, end_of_next, tell, tell_each
from events.log_writing import Committed
from events.membership import LAYER_TIMEOUT_SECONDS, Membership
from events.outbox import Outbox

logger = structlog.get_logger(__name__)

CHECK_SECONDS = 1.0
# What is in the log then may be on its way, and a busy process that read it all would be lost. Who is given anything
# meanwhile needs no help: a gap shows itself.
ON_THE_WAY_SECONDS = 0.5
_REPAIRS = 2  # reads at a time for viewers that missed something: all have, at once; the other readers are for the rest


class Hub:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self.layer: Any = get_channel_layer()
        self.listeners: dict[UUID, set[Listener]] = {}
        self.membership = Membership(self.layer, self.listeners.keys())
        self.viewers = 0
        self.closing = False
        self.heads: dict[UUID, int] = {}  # as far as is known here, of sessions that are listened to
        self._by_hex: dict[str, UUID] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._news: list[News] = []  # that is to be handed over here
        self._has_news = asyncio.Event()
        self._max_news = conf.channel_capacity
        self.repairing = asyncio.Semaphore(_REPAIRS)
        self.outbox = Outbox(self.membership)
        self._overflows = 0
        self._no_viewers = asyncio.Event()

    def start(self, log: EventLog) -> None:
        self._log = log
        for coroutine in (self._receive(), self._hand_over(), self._check_often()):
            self._spawn(coroutine)
        self._spawn(self.outbox.send())
        self._spawn(self.membership.keep())

    async def join(self, listener: Listener) -> None:
        """From its return on, the listener is told; what happened before is in the log. Leave it again, always.

        Raises TooManyViewers. As long as the layer is away, or has not heard of it, the check serves the listener.
        """
        if listener.cursor_seq is not None:
            if self.viewers >= conf.max_viewers:
                raise TooManyViewers
            self.viewers += 1
        self.listeners.setdefault(listener.session_id, set()).add(listener)
        self._by_hex[listener.session_id.hex] = listener.session_id
        await self.membership.settle(listener.session_id)

    def leave(self, listener: Listener) -> None:
        """With its last listener the session's group is discarded, if need be in the background. Idempotent."""
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
            if not self.membership.settle_at_once(listener.session_id):
                self._spawn(self.membership.settle(listener.session_id))

    def announce(self, committed: Committed) -> None:
        """Tells all who listen of events that are durable now, in their order."""
        self._hand_on(committed)
        if not self.membership.is_alone:
            sender = self.membership.sender
            self.outbox.put([(group_name(id), event_message(id, event, sender)) for id, event in committed])

    def signal(self, session_id: UUID, signal: Signal) -> None:
        """Tells all who listen to the session something that is not stored."""
        self._hand_on([(session_id, signal)])
        if not self.membership.is_alone:
            self.outbox.put([(group_name(session_id), signal_message(session_id, signal, self.membership.sender))])

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
            await self.membership.call(self.outbox.empty.wait())
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

    def _hand_on(self, news: Sequence[News]) -> None:
        """To who listens here, soon; what overflows is read from the log."""
        if not self.listeners:
            return
        if len(self._news) + len(news) > self._max_news:
            logger.warning("announcements_dropped", count=len(news))
            self._lose(list({session_id for session_id, _ in news}))
            return
        self._news += news
        self._has_news.set()

    async def _hand_over(self) -> None:
        burst = Burst()
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            while self._news:
                news, self._news = self._news, []
                await self._tell(news, burst)

    async def _tell(self, all_news: Sequence[News], burst: Burst) -> None:
        begun = time.monotonic()
        start = 0
        while start < len(all_news):
            end = end_of_next(all_news, start)
            if listeners := self.listeners.get(all_news[start][0]):
                try:
                    tell(listeners, all_news[start:end])
                except Exception:  # one event must not make the whole process deaf
                    logger.exception("layer_message_failed")
            start = end
            ended = time.monotonic()
            if burst.is_over(ended - begun):
                await burst.give_way()
                ended = time.monotonic()
            begun = ended

    async def _receive(self) -> None:
        while True:
            messages: list[dict[str, Any]] | None
            try:
                if not self.membership.channel:
                    await self.membership.open_channel()
                    await self.membership.settle_all()
                messages = await self.membership.receive()
                self._look_for_overflows()
            except Exception as error:  # what is lost meanwhile the check finds
                self.membership.failed(error)
                messages = None
            if messages is None:  # not in the `except`: what is compiled must not wait there
                await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311  (all processes met the same error)
                continue
            self._hand_on([news for message in messages if (news := self._read(message))])

    def _look_for_overflows(self) -> None:
        overflows = getattr(self.layer, "overflows", None)
        if overflows is not None and overflows(self.membership.channel) != self._overflows:
            self._overflows = overflows(self.membership.channel)
            logger.warning("layer_overflow", total=self._overflows)
            self._lose(list(self.listeners))

    def _read(self, message: dict[str, Any]) -> News | None:
        try:
            if message.get("sender") == self.membership.sender:
                return None  # one's own
            parsed = parse(message)
        except Exception:  # one message must not make the whole process deaf
            logger.exception("layer_message_failed")
            return None
        if parsed is None:
            logger.warning("layer_message_unknown")
            return None
        session_id = self._by_hex.get(parsed[0])
        return None if session_id is None else (session_id, parsed[1])

    def _lose(self, session_ids: list[UUID]) -> None:
        for session_id in session_ids:
            tell_each(self.listeners.get(session_id, ()), lambda listener: listener.on_loss())

    async def _check_often(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS / 2)
            self._quiet()  # only who is given something in the second half is left out
            await asyncio.sleep(CHECK_SECONDS / 2)
            try:
                await self._check()
            except StorageUnavailable as error:
                logger.warning("heads_unreadable", err=repr(error.__cause__))
            except BusClosed:
                return
            except Exception:  # without the check a lost message would be lost
                logger.exception("check_failed")

    def _quiet(self) -> list[UUID]:
        """Sessions with a listener that has been given nothing since this was asked last: any other sees a gap with the
        next event, or is in the next check.
        """
        return [session_id for session_id, listeners in self.listeners.items() if not _were_told(listeners)]

    async def _check(self) -> None:
        if not self.viewers:
            return
        quiet = self._quiet()
        if not quiet:
            return
        heads = await self._log.heads(quiet)
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


def _were_told(listeners: set[Listener]) -> bool:
    """All of them; each is asked, as that begins its count anew."""
    told = [listener.was_told() for listener in listeners]
    return all(told)
