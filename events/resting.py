"""How who reads a model rests from one batch to the next: what the model says meanwhile is read in one go.

To be woken for each token is the dearest part of it: measured with 100 streams at 50 tokens/s, a fifth of all that a
token costs (#4). No text leaves later for it: what is read when the batch is due joins that batch. Nor is the reader's
task woken for that, if its provider has said how to read without waiting.
"""

import asyncio
from collections.abc import Callable, Sequence
from math import inf

from events.core.batching import Batch, Batcher
from events.timers import EARLY_SECONDS, Timers

Add = Callable[[Sequence[str], float, float], None]


class Rest:
    """Of one publisher and its reader.

    The publisher's own: `add` takes tokens, since when they may have waited, and the time; `look` whether something is
    to leave now.
    """

    __slots__ = (
        *("_add", "_batcher", "_cut_short", "_few", "_is_late", "_look", "_loop", "_new", "_over", "_read"),
        *("_since", "_sleeper", "_timers", "_until"),
    )

    def __init__(self, batcher: Batcher, timers: Timers, add: Add, look: Callable[[float], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._batcher = batcher
        self._timers = timers
        self._add, self._look = add, look
        self._read: Callable[[], Sequence[str]] | None = None
        self._few = self._over = self._cut_short = False
        self._is_late = False  # the batch is due, and the one before it is not stored yet
        self._new = True  # nothing has left
        self._sleeper: asyncio.Future[None] | None = None
        self._since = self._until = inf  # since when what comes is not read, and when it will be

    def reads(self, read: Callable[[], Sequence[str]]) -> None:
        """For the provider: `read` gives the tokens that have come, without waiting.

        None if none has, or if something else is next: then the reader's task is woken, and sees for itself. What it
        raises the reader is told.
        """
        self._read, self._over = read, False

    def end(self) -> None:
        """For the provider: the end of the answer has come, which waits for no batch. No rest after it.

        In a loop that has much to do it does wait, so that the last text needs no batch of its own.
        """
        self._over = True
        if not self._timers.pace.is_stretched:
            self._cut_short = self._sleeper is not None
            self._wake()

    @property
    def allowed(self) -> bool:
        """Whether there is something to gain by it, and nothing waits that must leave at once."""
        return self._few and self._read is not None and not self._over and not self._batcher.immediate

    @property
    def ends_at(self) -> float:
        """When the next batch is read, while the reader rests; else -inf."""
        return -inf if self._sleeper is None else self._until

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

    def unread_since(self, now: float) -> float:
        """Since when what the reader adds now may have waited."""
        since, self._since = self._since, inf
        return min(now, since) if self._cut_short else now

    async def until_needed(self) -> None:
        """For the reader, when it has added what it has. Batch after batch is read meanwhile."""
        if not self._rests_on(self._loop.time()):
            return
        self._sleeper = self._loop.create_future()
        try:
            await self._sleeper
        finally:
            self._sleeper, self._is_late = None, False
            if self._batcher.pending_tokens:  # no timer is set for it
                self._loop.call_soon(self._look_again)  # behind the reader, which by then has added what it found

    def go_on(self, now: float) -> None:
        """The batch in flight is stored: the next one may be due already."""
        if self._is_late:
            self._is_late = False
            self._next_batch(now)

    def leave(self) -> None:
        """Nothing is read any more; nor do this, the publisher and the provider hold each other."""
        self._read, self._add, self._look = None, _nothing, _nothing

    # --- inside ---

    def _rests_on(self, now: float) -> bool:
        until = self._batcher.next_deadline(now + EARLY_SECONDS)
        if until <= now + EARLY_SECONDS:
            return False
        self._since, self._until = now, until
        self._timers.call_at(until, self._come)
        return True

    def _come(self, at: float) -> None:
        if at == self._until and self._sleeper is not None and not self._sleeper.done():
            if self._batcher.in_flight:
                self._is_late = True
            else:
                self._next_batch(max(at, self._loop.time()))

    def _next_batch(self, now: float) -> None:
        try:
            texts = self._read() if self._read is not None else ()
        except Exception as error:
            self._wake(error)
            return
        if texts:
            self._add(texts, self._since, now)
        if not (texts and self.allowed and self._rests_on(now)):
            self._wake()

    def _look_again(self) -> None:
        self._look(self._loop.time())

    def _wake(self, error: Exception | None = None) -> None:
        if self._sleeper is None or self._sleeper.done():
            return
        if error is None:
            self._sleeper.set_result(None)
        else:
            self._sleeper.set_exception(error)


def _nothing(*_: object) -> None:
    pass
