"""The events of one stream, on their way out: text in batches, everything else in its order behind it.

One long-lived task a stream sleeps until the deadline that the batcher gives; adding a token costs no task and no
timer. Only that sleep is ever cut short: a batch that has been taken is waited for, since a cancelled one is lost
(measured: 64 of 20,000 tokens).
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog

from events import metrics
from events.alarm import Alarm, Timers
from events.conf import conf
from events.core.batching import Batch, Batcher
from events.core.pace import Pace
from events.event_log import EventLog
from events.exceptions import StorageUnavailable
from events.log_transaction import Entry, LogTransaction

logger = structlog.get_logger(__name__)
T = TypeVar("T")
First = Callable[[LogTransaction], Sequence[Entry]]
Last = Callable[[LogTransaction, Sequence[Entry]], T]

_TIMER_EARLY_SECONDS = 1e-3  # a timer of uvloop may be early by half of it; it need not be set again
_TICKS = 3  # of the interval: streams whose batches are due within one leave together, in one commit


class _Refused(Exception):
    """The turn is over: undoes what was to be stored with the text."""


class BatchingPublisher:
    """`encode` makes a batch's text the data of a `text_type` event.

    `before_first` is asked when the first token comes: what it gives runs in the transaction of the first batch, and
    the entries that returns go before the text.
    `on_trouble` is called once, on the loop, when the log has refused the turn (None) or cannot be written.
    The methods are for one task, the stream's, which ends with `aclose`; each of them may be cancelled.
    """

    def __init__(
        self,
        log: EventLog,
        session_id: UUID,
        stream_id: UUID,
        turn: int,
        *,
        text_type: str,
        encode: Callable[[str], str],
        before_first: Callable[[], First],
        on_trouble: Callable[[StorageUnavailable | None], None],
        pace: Pace,
        timers: Timers,
    ) -> None:
        self.batches = self.tokens = self.text_bytes = 0
        self._log = log
        self._session_id = session_id
        self._stream_id = stream_id
        self._turn = turn
        self._text_type = text_type
        self._encode = encode
        self._before_first: Callable[[], First] | None = before_first
        self._first: First | None = None
        self._on_trouble = on_trouble
        self._loop = asyncio.get_running_loop()
        self._pace = pace
        self._batcher = Batcher(pace.interval_seconds, conf.flush_bytes, conf.flush_interval_seconds / _TICKS)
        self._max_pending_bytes = conf.max_pending_bytes
        self._others: list[Entry] = []
        self._published = self._others_sent = 0
        self._unsent: Batch | None = None
        self._left: Batch | None = None
        self._broken = self._closing = self._finishing = False
        self._end_in_doubt: Callable[[], None] = lambda: None  # nobody waits for the end yet
        self._alarm = Alarm(timers)
        self._sent = asyncio.Event()
        self._logger = logger.bind(request_id=str(stream_id))
        self._task = self._loop.create_task(self._flush())

    @property
    def full(self) -> bool:
        """Whether the reader of the model should wait for `room` before it adds more."""
        return self._batcher.pending_bytes >= self._max_pending_bytes

    def add(self, text: str) -> None:
        """One token. Returns at once."""
        if self._before_first is not None:
            self._first, self._before_first = self._before_first(), None
        self._batcher.add(text, self._loop.time())
        if self._batcher.immediate:
            self._alarm.ring()
        elif self._alarm.unset and (deadline := self._batcher.deadline()) is not None:
            self._alarm.set(deadline)
            self._logger.debug("flush_scheduled")

    async def room(self) -> None:
        """Returns when less waits than `EVENTS_MAX_PENDING_BYTES`, or nothing more can be sent."""
        await self._until(lambda: not self.full)

    async def publish(self, *entries: Entry) -> None:
        """Other events of the stream; waiting text leaves before them, in the same commit. Returns when they have."""
        self._others += entries
        self._published += len(entries)
        mine = self._published
        self._alarm.ring()
        await self._until(lambda: self._others_sent >= mine)

    async def finish(self, line: str, work: Last[T], on_doubt: Callable[[], None]) -> T:
        """Ends the flushing; then `work` gets what text is left as entries, to store it with the end of the stream.

        `line` names the flush in the log (`flush_on_end`, `flush_on_cleanup`), once. Raises what the transaction
        raises; may then be called again. `on_doubt`: see `EventLog.append`; about the end, or a batch before it.
        """
        self._end_in_doubt = on_doubt
        await self.aclose()
        left = self._take_left()
        if not self._finishing:
            self._finishing = True
            self._logger.info(line, size=0 if left is None else left.size_bytes)

        def last_work(log: LogTransaction) -> T:
            if left is None:
                return work(log, [])
            first = () if self._first is None else self._first(log)
            return work(log, [*first, self._text_entry(left)])

        result = await self._log.transaction(last_work, on_doubt)
        if left is not None:
            metrics.flushed(left, metrics.END)
        self._logger.info("cleanup_buffer")
        return result

    async def aclose(self) -> None:
        """Ends the flushing; a flush in flight is waited for. What is left of the text is not stored. Idempotent."""
        if not self._closing:
            self._closing = True
            self._alarm.ring()
            self._logger.info("cleanup_flush_task")
        await asyncio.wait([self._task])  # not `await self._task`: cancelling that would cancel the flush in flight

    # --- inside ---

    def _take_left(self) -> Batch | None:
        """What could not be stored, and what came after it, as one batch; the same again if asked again."""
        left = self._left
        for batch in (self._unsent, self._batcher.take(self._loop.time())):
            if batch is not None:
                self._count(batch, batches=int(left is None))
                left = batch if left is None else left.followed_by(batch)
        self._left, self._unsent = left, None
        if self._batcher.in_flight:
            self._batcher.done(self._loop.time())
        return left

    async def _flush(self) -> None:
        while not self._broken and (self._others or not self._closing):
            deadline, now = self._batcher.deadline(), self._loop.time()
            if not self._others:
                if deadline is None or deadline > now + _TIMER_EARLY_SECONDS:
                    await self._sleep(deadline)
                    continue
                now = max(now, deadline)  # else the next one would be due a tick too early
            if self._batcher.immediate:
                self._logger.debug("flush_immediate", size=self._batcher.pending_bytes)
            others, self._others = self._others, []
            batch = self._batcher.take(now)
            await self._append(batch, others)
            if batch is not None:
                self._batcher.done(self._loop.time())
            self._others_sent += len(others)
            self._sent.set()

    async def _sleep(self, deadline: float | None) -> None:
        if deadline is not None:
            self._logger.debug("flush_scheduled")
        if late_seconds := await self._alarm.sleep(deadline):
            self._pace.note(late_seconds, self._loop.time())
            self._batcher.interval_seconds = self._pace.interval_seconds
        elif self._closing and self._alarm.at is not None:
            self._logger.debug("flush_cancelled")

    async def _append(self, batch: Batch | None, others: Sequence[Entry]) -> None:
        """What fails keeps the batch for `finish`; a refused turn drops it: it must not be seen."""
        if batch is not None:
            self._logger.debug("flush_start", size=batch.size_bytes)
        trouble: StorageUnavailable | None = None
        try:
            stored = await self._store(batch, others)
        except Exception as error:
            if not isinstance(error, StorageUnavailable):
                self._logger.exception("flush_failed")
                error = StorageUnavailable(repr(error))
            stored, trouble, self._unsent = False, error, batch
        if not stored:
            self._break(trouble)
        elif batch is not None:
            self._count(batch)
            full = batch.size_bytes > self._batcher.flush_bytes
            metrics.flushed(batch, metrics.BYTES if full else metrics.INTERVAL)
            self._logger.debug("flush_done", tokens_sent=batch.tokens)

    async def _store(self, batch: Batch | None, others: Sequence[Entry]) -> bool:
        """False: refused."""
        entries = others if batch is None else [self._text_entry(batch), *others]
        if self._first is None or batch is None:
            return await self._log.append(self._session_id, entries, self._turn, self._doubt) is not None
        try:
            await self._log.transaction(partial(self._store_first, self._first, entries), self._doubt)
        except _Refused:
            return False
        self._first = None
        return True

    def _doubt(self) -> None:
        """Whether a batch is stored will be known before the end is; the stream need not go on that long."""
        self._break(StorageUnavailable())
        self._end_in_doubt()

    def _break(self, trouble: StorageUnavailable | None) -> None:
        if not self._broken:
            self._broken = True
            self._on_trouble(trouble)

    def _store_first(self, first: First, entries: Sequence[Entry], log: LogTransaction) -> None:
        if log.append(self._session_id, *first(log), *entries, turn=self._turn) is None:
            raise _Refused

    def _text_entry(self, batch: Batch) -> Entry:
        return Entry(self._text_type, self._encode(batch.text), self._stream_id)

    def _count(self, batch: Batch, *, batches: int = 1) -> None:
        self.batches += batches
        self.tokens += batch.tokens
        self.text_bytes += batch.size_bytes

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not (condition() or self._task.done()):
            self._sent.clear()
            await self._sent.wait()
