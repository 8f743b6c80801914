"""How who reads a model rests from one batch to the next: what the model says meanwhile is read in one go.

To be woken for each token is the dearest part of it: measured with 100 streams at 50 tokens/s, a fifth of all that a
token costs (#4). No text leaves later for it: what is read when the rest is over joins the batch of that moment.
"""

import asyncio
from collections.abc import Callable
from math import inf

from events.core.batching import Batch, Batcher
from events.timers import EARLY_SECONDS, Timers


class Rest:
    """Of one publisher and its reader. `look` is the publisher's: whether something is to leave now."""

    __slots__ = (
        *("_batcher", "_cut_short", "_few", "_look", "_loop", "_new", "_over"),
        *("_since", "_sleeper", "_timers", "_until"),
    )

    def __init__(self, batcher: Batcher, timers: Timers, look: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._batcher = batcher
        self._timers = timers
        self._look = look
        self._few = self._over = self._cut_short = False
        self._new = True  # nothing has left
        self._sleeper: asyncio.Future[None] | None = None
        self._since = self._until = inf  # of the last rest: when it began, and when it should end

    @property
    def allowed(self) -> bool:
        """Whether there is something to gain by it, and nothing waits that must leave at once."""
        return self._few and not self._over and not self._batcher.immediate

    @property
    def ends_at(self) -> float:
        """When the reader comes back, if it rests; else -inf."""
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

    def unread_since(self) -> float:
        """Since when what is read now may have waited: since the rest that has just ended began, say."""
        now = self._loop.time()
        since, self._since = self._since, inf
        return min(now, since) if self._cut_short or self._timers.has_called(self._until) else now

    async def until_next_batch(self) -> None:
        """For the reader, when it has added what it has. What waits leaves when it is back."""
        now = self._loop.time()
        until = self._batcher.next_deadline(now + EARLY_SECONDS)
        if until <= now + EARLY_SECONDS:
            return
        self._until = until
        self._sleeper = self._loop.create_future()
        self._timers.call_at(until, self._wake)
        try:
            await self._sleeper
            self._since = now
        finally:
            self._sleeper = None
            if self._batcher.pending_tokens:  # no timer is set for it
                self._loop.call_soon(self._look)  # behind the reader, which by then has added what it found

    def end(self) -> None:
        """Now and for good: the end of the answer has come, which waits for no batch."""
        self._over = True
        self._cut_short = self._sleeper is not None
        self._wake(self._until)

    def leave(self) -> None:
        """Nothing is read any more; nor do this and the publisher hold each other."""
        self._look = _nothing

    def _wake(self, until: float) -> None:
        if until == self._until and self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)


def _nothing() -> None:
    pass
