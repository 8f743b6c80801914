"""How who reads a model rests from one batch to the next: what the model says meanwhile is read in one go.

To be woken for each token is the dearest part of it: measured with 100 streams at 50 tokens/s, a fifth of all that a
token costs (#4). No text leaves later for it: what is read when the rest is over joins the batch of that moment.
"""

import asyncio
import os
from math import inf
from time import process_time, thread_time

from events.alarm import EARLY_SECONDS, Alarm, Timers
from events.core.batching import Batch, Batcher
from events.core.pace import Pace

# Where there is one core, the threads beside the loop take it from the loop as well.
_spent_seconds = process_time if len(os.sched_getaffinity(0)) == 1 else thread_time


class Rest:
    """Of one publisher and its reader. `flusher` is what the publisher's task sleeps by."""

    __slots__ = ("_alarm", "_batcher", "_few", "_flusher", "_loop", "_new", "_number", "_over", "_pace")

    def __init__(self, batcher: Batcher, flusher: Alarm, timers: Timers, pace: Pace) -> None:
        self._loop = asyncio.get_running_loop()
        self._batcher = batcher
        self._flusher = flusher
        self._alarm = Alarm(timers)
        self._pace = pace
        self._few = self._over = False
        self._new = True  # nothing has left
        self._number = pace.join()
        self._keep_pace()

    @property
    def allowed(self) -> bool:
        """Whether there is something to gain by it, and nothing waits that must leave at once."""
        return self._few and not self._over and not self._batcher.immediate

    def learn(self, batch: Batch | None) -> None:
        """From a batch that leaves. One token a batch is nothing to wait for, and many bytes must not wait unread."""
        if batch is None:
            self._few = False
            return
        if self._new:  # the first batch is the first token, and there may be eight before the next one leaves
            self._few = 8 * batch.size_bytes <= self._batcher.flush_bytes
        else:
            self._few = batch.tokens > 1 and 2 * batch.size_bytes <= self._batcher.flush_bytes
        self._new = False

    async def until_next_batch(self) -> None:
        """For the reader, when it has added what it has. The next batch leaves as soon as it waits for more."""
        now = self._loop.time() + EARLY_SECONDS
        until = self._batcher.next_deadline(now)
        if until <= now:
            return
        deadline = self._batcher.deadline()
        if deadline is not None and deadline <= now:
            self._flusher.ring()
        else:
            self._flusher.take_back()  # it might come before this
        try:
            self.note(await self._alarm.sleep(until))
            self._batcher.unread_since(now)
            self._loop.call_soon(self._batcher.unread_since, inf)  # by then the reader has added what it found
        finally:
            self._flusher.ring()  # wakes behind the reader, which by then has added what it found

    def note(self, late_seconds: float | None) -> None:
        """How late the reader or the flusher came, for the pace of all; None if it was rung."""
        if late_seconds is not None:
            self._pace.note(late_seconds)
            if not self._pace.is_judged(now := self._loop.time()):
                self._pace.judge(now, _spent_seconds())
            self._keep_pace()

    def end(self) -> None:
        """Now and for good: the end of the answer has come, which waits for no batch."""
        self._over = True
        self._alarm.ring()

    def leave(self, task: object) -> None:
        """No batch leaves any more."""
        self._pace.leave()

    def _keep_pace(self) -> None:
        pace = self._pace
        self._batcher.keep(pace.interval_seconds, pace.ticks, pace.slot(self._number))
