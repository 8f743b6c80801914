"""One connected reader of a session's events: a cursor, a bounded queue that the hub fills, and the log behind it.

What a viewer is given is contiguous: exactly the next seq is taken from the queue, an older one is dropped, and
before a newer one the gap is read from the log. The queue may overflow: then it is emptied, and the log is read.
The very next events need not go through the queue: a `sink` may take them where the hub hands them over (the
consumer's, if the server has the extension `events.write`), which wakes nobody.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple
from uuid import UUID

from events import metrics
from events.conf import conf
from events.core import sse
from events.core.cursor import Cursor, Step
from events.event_log import EventLog
from events.groups import Signal
from events.hub import Hub
from events.listeners import Delivered

QUEUE_EVENTS = 256  # about 18 s of one stream; a viewer that is further behind reads the log
SIGNALS = 16


class Lost(NamedTuple):
    """The next event is stored no more, or the cursor was never given out: only a snapshot helps."""


class Viewer:
    """Join, then ask for `next` until enough, then leave. `after`: the last seq the reader has; 0 for none."""

    def __init__(self, hub: Hub, log: EventLog, session_id: UUID, after: int) -> None:
        self.session_id = session_id
        self.gaps = 0
        self.signals: list[Signal] = []  # not looked at yet, the newest `SIGNALS`
        self.hub = hub
        # Takes the very next events while somebody waits in `next`, who then need not be woken; False: none of them.
        self.sink: Callable[[Sequence[Delivered]], bool] | None = None
        self._log = log
        self._cursor = Cursor(after)
        self._queue: list[Delivered] = []  # lists: an empty deque has 0.7 KB
        self._queued_bytes, self._max_queued_bytes = 0, conf.max_queued_bytes
        self._read_log = True
        self._missed = False  # the hub did not hand over all that it should have
        self._woken = self._told = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def cursor_seq(self) -> int:
        return self._cursor.seq

    @property
    def queued(self) -> int:
        """How many events wait for `next`; never more than `QUEUE_EVENTS`."""
        return len(self._queue)

    async def join(self) -> None:
        await self.hub.join(self)

    def leave(self) -> None:
        self.hub.leave(self)
        self.wake()

    def start_at(self, seq: int, *, read_log: bool) -> None:
        """Moves the cursor. `read_log` false: what comes after `seq` has come by the hub since the viewer joined.

        Unless some of that was lost meanwhile: then the log is read all the same.
        """
        self._cursor = Cursor(seq)
        self._read_log = read_log or self._missed

    async def next(self) -> Sequence[Delivered] | Lost:
        """What comes after the cursor, as soon as there is any. May be empty: after `wake` or `on_loss`, above all.

        Raises StorageUnavailable and BusClosed; it may be asked again then, as after its cancellation.
        """
        while True:
            if self._read_log:
                return await self._from_log()
            if self._queue and (contiguous := self._take()):
                return contiguous
            if self._read_log:
                continue
            if self._woken:
                self._woken = False
                return []
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def wake(self) -> None:
        """Makes `next` return: the one that waits, or else the next one."""
        self._woken = True
        self._look()

    # --- told by the hub ---

    def was_told(self) -> bool:
        told, self._told = self._told, False
        return told

    def on_events(self, delivered: Sequence[Delivered]) -> None:
        self._told = True
        is_next = self._is_idle and delivered[0].event.seq == self.cursor_seq + 1
        if is_next and self.sink is not None and self.sink(delivered):
            self._cursor.seq = delivered[-1].event.seq
            return
        self._queue += delivered
        for _, frame in delivered:
            self._queued_bytes += len(frame)
        if len(self._queue) > QUEUE_EVENTS or self._queued_bytes > self._max_queued_bytes:
            self._forget_queue()
            self._read_log = self._missed = True
        self._look()

    def on_signal(self, signal: Signal) -> None:
        self.signals = [*self.signals[1 - SIGNALS :], signal]
        self.wake()

    def on_loss(self) -> None:
        self._read_log = self._missed = True
        self._look()

    # --- inside ---

    @property
    def _is_idle(self) -> bool:
        """Whether somebody waits in `next` and all that came before has been given out."""
        return self._waiter is not None and not self._waiter.done() and not self._queue

    def _forget_queue(self) -> None:
        self._queue.clear()
        self._queued_bytes = 0

    def _look(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _from_log(self) -> Sequence[Delivered] | Lost:
        missed = self._missed
        self._read_log = self._missed = False  # what is lost from now on may be missing from what is read now
        try:
            async with self.hub.repairing if missed else nullcontext():
                page = await self._log.read(self.session_id, self.cursor_seq)
        except BaseException:
            self._read_log = True
            self._missed |= missed
            raise
        if page.lost:
            return Lost()
        if page.events:
            metrics.gaps_repaired.add(int(missed))
            self._cursor = Cursor(page.events[-1].seq)
            if page.events[-1].seq < page.head:
                self._read_log = True
        elif self._queue and self._queue[0].event.seq > page.head + 1:  # the very next has come since it was read
            self._read_log = len(self._queue) > 1  # what stands behind it may be in the log by now
            self._forget_queue()  # an event that the log does not have: from elsewhere, by mistake
        return [Delivered(event, sse.encode(event)) for event in page.events]

    def _take(self) -> list[Delivered]:
        taken: list[Delivered] = []
        queue, self._queue = self._queue, []
        for place, delivered in enumerate(queue):
            step = self._cursor.step(delivered.event.seq)
            if step is Step.GAP:
                self.gaps += 1
                self._read_log = self._missed = True
                self._queue = queue[place:]
                break
            self._queued_bytes -= len(delivered.frame)
            if step is Step.NEXT:
                taken.append(delivered)
        return taken
