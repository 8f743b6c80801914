"""The events of one stream, on their way out: text in batches, everything else in its order behind it.

One long-lived task a stream sleeps until the deadline that the batcher gives; adding a token costs no task and no
timer. Only that sleep is ever cut short: a batch that has been taken is waited for, since a cancelled one is lost
(measured: 64 of 20,000 tokens).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

import structlog

from events import metrics
from events.alarm import EARLY_SECONDS, Alarm, Timers
from events.conf import conf
from events.core.batching import Batch, Batcher
from events.core.pace import Pace
from events.event_log import EventLog
from events.exceptions import BusClosed, StorageUnavailable
from events.log_transaction import Entry, First, LogTransaction
from events.resting import Rest

logger = structlog.get_logger(__name__)
T = TypeVar("T")
Last = Callable[[LogTransaction, Sequence[Entry]], T]


class BatchingPublisher:
    """`encode` makes a batch's text the data of a `text_type` event.

    `before_first` is asked when the first token comes.
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
        self._session_id, self._stream_id, self._turn = session_id, stream_id, turn
        self._text_type, self._encode = text_type, encode
        self._before_first: Callable[[], First] | None = before_first
        self._first: First | None = None
        self._on_trouble = on_trouble
        self._loop = asyncio.get_running_loop()
        self._batcher = Batcher(pace.interval_seconds, conf.flush_bytes, pace.tick_seconds)
        self._max_pending_bytes = conf.max_pending_bytes
        self._others: list[Entry] = []
        self._published = self._others_sent = 0
        self._unsent: Batch | None = None
        self._broken = self._closing = self._cut_off = self._last_told = False
        self._last_line = ""  # before `finish`
        self._end_in_doubt: Callable[[], None] = lambda: None  # nobody waits for the end yet
        self._sent: asyncio.Future[None] | None = None  # for who waits in `_until`
        self._alarm = Alarm(timers)
        self.rest = Rest(self._batcher, self._alarm, timers, pace)  # for whoever adds
        self._logger = logger.bind(request_id=str(stream_id))
        self._task = self._loop.create_task(self._flush())
        self._task.add_done_callback(self.rest.leave)

    @property
    def full(self) -> bool:
        """Whether the reader of the model should wait for `room` before it adds more."""
        return self._batcher.pending_bytes >= self._max_pending_bytes

    def add(self, *texts: str) -> None:
        """Tokens. Returns at once."""
        if self._before_first is not None:
            self._first, self._before_first = self._before_first(), None
        batcher = self._batcher
        batcher.extend(texts, self._loop.time())
        if batcher.immediate:
            self._alarm.ring()
        elif self._alarm.unset and (deadline := batcher.deadline()) is not None:
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
        """`work` stores the stream's end, and before it, as entries, what waits or could not be stored. None: nothing.

        The end gives way: many at once must hold up nobody's text. Where many wait, the last text goes ahead of its
        end. `line` names the last flush in the log (`flush_on_end`, `flush_on_cleanup`), once. Raises what the
        transaction raises; may then be called again. `on_doubt`: see `EventLog.append`, of the end or a batch before.
        """
        self._end_in_doubt, self._last_line = on_doubt, line
        self._close()
        await asyncio.wait([self._task])
        self._tell_last()
        left = self._take_left()

        def last_work(log: LogTransaction) -> T:
            if left is None:
                return work(log, [])
            if self._first is not None:
                self._first.along.work(log, [self._first.along.item])
            return work(log, self._text_entries(left))

        result = await self._log.transaction(last_work, on_doubt, gives_way=True)
        if left is not None and result is not None:
            metrics.flushed(left, metrics.END)
        self._logger.info("cleanup_buffer")
        return result

    async def aclose(self) -> None:
        """Ends the flushing; one in flight is waited for. What waits is stored if `finish` was cut off. Idempotent."""
        self._cut_off = True
        self._close()
        await asyncio.wait([self._task])  # not `await self._task`: cancelling that would cancel the flush in flight

    # --- inside ---

    def _close(self) -> None:
        if not self._closing:
            self._closing = True
            self._logger.info("cleanup_flush_task")
            if self._alarm.pending:
                self._logger.debug("flush_cancelled")
            self._alarm.ring()

    def _take_left(self) -> Batch | None:
        """What could not be stored, and what came after it, as one batch; the same again if asked again."""
        if batch := self._batcher.take(self._loop.time()):
            self._batcher.done(self._loop.time())
            self._count(batch, batches=int(self._unsent is None))
            self._unsent = batch if self._unsent is None else self._unsent.followed_by(batch)
        return self._unsent

    async def _flush(self) -> None:
        while not self._broken and (self._others or not self._closing or self._text_is_last):
            deadline, now = self._batcher.deadline(), self._loop.time()
            if not self._others and not self._closing:
                if deadline is None or deadline > now + EARLY_SECONDS:
                    if deadline is not None:
                        self._logger.debug("flush_scheduled")
                    self.rest.note(await self._alarm.sleep(deadline))
                    continue
                now = max(now, deadline)  # else the next one would be due a tick too early
            if self._last_line:
                self._tell_last()
            elif self._batcher.immediate:
                self._logger.debug("flush_immediate", size=self._batcher.pending_bytes)
            others, self._others = self._others, []
            batch = self._batcher.take(now)
            self.rest.learn(batch)
            await self._append(batch, others)
            if batch is not None:
                self._batcher.done(self._loop.time())
            self._others_sent += len(others)
            if self._sent is not None and not self._sent.done():
                self._sent.set_result(None)

    @property
    def _text_is_last(self) -> bool:
        """Whether there is a last text that should not wait for the end's turn, or cannot."""
        waits = bool(self._last_line and self._batcher.pending_tokens)
        return waits and (self._cut_off or self._log.holds_up_ends)

    def _tell_last(self) -> None:
        if not self._last_told:
            self._last_told = True
            self._logger.info(self._last_line, size=self._batcher.pending_bytes)

    async def _append(self, batch: Batch | None, others: Sequence[Entry]) -> None:
        """What fails keeps the batch for `finish`; a refused turn drops it: it must not be seen."""
        told = batch is not None and not self._last_line  # the last one has a line of its own
        if batch is not None and told:
            self._logger.debug("flush_start", size=batch.size_bytes)
        trouble: StorageUnavailable | None = None
        try:
            stored = await self._store(batch, others) is not None
        except Exception as error:
            if not isinstance(error, (StorageUnavailable, BusClosed)):
                self._logger.exception("flush_failed")
            error = error if isinstance(error, StorageUnavailable) else StorageUnavailable(repr(error))
            stored, trouble, self._unsent = False, error, batch
        if batch is not None and (stored or trouble):  # what failed is stored with the end
            self._count(batch)
        if not stored:
            self._break(trouble)
        elif batch is not None:
            self._first = None
            cause = metrics.BYTES if batch.size_bytes > self._batcher.flush_bytes else metrics.INTERVAL
            metrics.flushed(batch, cause if told else metrics.END)
            if told:
                self._logger.debug("flush_done", tokens_sent=batch.tokens)

    def _store(self, batch: Batch | None, others: Sequence[Entry]) -> Awaitable[int | None]:
        """See `EventLog.append`."""
        entries = others if batch is None else [*self._text_entries(batch), *others]
        along = None if batch is None or self._first is None else self._first.along
        return self._log.append(self._session_id, entries, self._turn, self._doubt, along)

    def _doubt(self) -> None:
        """Whether a batch is stored will be known before the end is; the stream need not go on that long."""
        self._break(StorageUnavailable())

    def _break(self, trouble: StorageUnavailable | None) -> None:
        if not self._broken:
            self._broken = True
            self._on_trouble(trouble)
            if trouble is not None:
                self._end_in_doubt()

    def _text_entries(self, batch: Batch) -> Sequence[Entry]:
        text = Entry(self._text_type, self._encode(batch.text), self._stream_id)
        return [text] if self._first is None else [*self._first.entries, text]

    def _count(self, batch: Batch, *, batches: int = 1) -> None:
        self.batches += batches
        self.tokens += batch.tokens
        self.text_bytes += batch.size_bytes

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not (condition() or self._task.done()):
            assert self._sent is None or self._sent.done(), "for one task"
            self._sent = self._loop.create_future()
            await self._sent
