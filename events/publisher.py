"""The events of one stream, on their way out: text in batches, everything else in its order behind it.

Nothing of a stream's own is woken for a batch but the task that reads its model: a batch leaves where its text is
added, or from the loop's timer that its streams share, and where the log has told that it is stored the next one is
seen to. What has been handed to the log is never taken back: a flush that is cancelled is lost (measured: 64 of 20,000
tokens).
"""

import asyncio
from collections.abc import Callable, Sequence
from logging import DEBUG
from math import ceil, inf
from typing import TypeVar
from uuid import UUID

import structlog

from events import metrics
from events.conf import conf
from events.core.batching import Batch, Batcher
from events.core.event import storable
from events.event_log import EventLog
from events.exceptions import BusClosed, StorageUnavailable
from events.log_transaction import Along, Append, Entry, First, LogTransaction
from events.resting import Rest
from events.timers import Timers

logger = structlog.get_logger(__name__)
T = TypeVar("T")
Last = Callable[[LogTransaction, Sequence[Entry]], T]

# Of a stream's text, to be at hand at its end: else the log is read, a third of a millisecond of its writer for 140
# batches. Longer ones are, so that 1,000 streams hold some 60 MB at most.
KEPT_BYTES = 32 << 10
_ALONG_SECONDS = 0.5  # or up to a second more: then what goes with a second text is stored without one


class _Flight:
    """What has been handed to the log, and is not known to be stored."""

    __slots__ = ("along", "batch", "others", "told")

    def __init__(self, batch: Batch | None, others: int, told: bool, along: Along | None) -> None:
        self.batch, self.others, self.told, self.along = batch, others, told, along


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
        timers: Timers,
    ) -> None:
        self.batches = self.tokens = self.text_bytes = 0
        self._texts: list[str] | None = []  # of the batches that count
        self._log = log
        self._session_id, self._stream_id, self._turn = session_id, stream_id, turn
        self._text_type, self._encode = text_type, encode
        self._before_first: Callable[[], First] | None = before_first
        self._before_text: Sequence[Entry] = ()  # of the first text, until that is stored
        self._along: Along | None = None  # with the text after it
        self._on_trouble = on_trouble
        self._loop = asyncio.get_running_loop()
        self._timers, self._pace = timers, timers.pace
        self._batcher = Batcher(self._pace.interval_seconds, conf.flush_bytes, self._pace.tick_seconds)
        self._number = self._pace.join()
        self._keep_pace()
        self._max_pending_bytes = conf.max_pending_bytes
        self._others: list[Entry] = []
        self._published = self._others_sent = 0
        self._at = inf  # when to look again
        self._flight: _Flight | None = None
        self._unsent: Batch | None = None
        self._broken = self._closing = self._cut_off = self._last_told = False
        self._last_line = ""  # before `finish`
        self._end_in_doubt: Callable[[], None] = lambda: None  # nobody waits for the end yet
        self._landed_again: asyncio.Future[None] | None = None  # for who waits in `_until`
        self.rest = Rest(self._batcher, timers, self._add, self._look)  # for whoever adds
        self._logger = logger.bind(request_id=str(stream_id))
        self._debugs: bool = self._logger.is_enabled_for(DEBUG)  # asked once: there are some three lines a batch

    @property
    def full(self) -> bool:
        """Whether the reader of the model should wait for `room` before it adds more."""
        return self._batcher.pending_bytes >= self._max_pending_bytes

    @property
    def text(self) -> str | None:
        """For `work` of `finish`: all text that is stored when it is. None: the log has to be read for it."""
        return None if self._texts is None else storable("".join(self._texts))

    def add(self, *texts: str) -> None:
        """Tokens. Returns at once."""
        now = self._loop.time()
        self._add(texts, self.rest.unread_since(now), now)

    def _add(self, texts: Sequence[str], since: float, now: float) -> None:
        if self._before_first is not None:
            self._before_text, self._along = self._before_first()
            self._before_first = None
            self._timers.one_begins(now)
        self._batcher.extend(texts, since)
        self._look(now)

    async def room(self) -> None:
        """Returns when less waits than `EVENTS_MAX_PENDING_BYTES`, or nothing more can be sent."""
        await self._until(lambda: not self.full)

    async def publish(self, *entries: Entry) -> None:
        """Other events of the stream; waiting text leaves before them, in the same commit. Returns when they have."""
        self._others += entries
        self._published += len(entries)
        mine = self._published
        self._look(self._loop.time())
        await self._until(lambda: self._others_sent >= mine)

    async def finish(self, line: str, work: Last[T], on_doubt: Callable[[], None]) -> T:
        """`work` stores the stream's end, and before it, as entries, what waits or could not be stored. None: nothing.

        The end gives way: many at once must hold up nobody's text. Where many wait, the last text goes ahead of its
        end. `line` names the last flush in the log (`flush_on_end`, `flush_on_cleanup`), once. Raises what the
        transaction raises; may then be called again. `on_doubt`: see `EventLog.append`, of the end or a batch before.
        """
        self._end_in_doubt, self._last_line = on_doubt, line
        self._close()
        await self._landed()
        self._tell_last()
        left = self._take_left()

        def last_work(log: LogTransaction) -> T:
            if left is None:
                return work(log, [])
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
        await self._landed()
        self.rest.leave()

    # --- inside ---

    def _close(self) -> None:
        if not self._closing:
            self._closing = True
            self._logger.info("cleanup_flush_task")
            if self._at < inf and self._debugs:
                self._logger.debug("flush_cancelled")
            self._at = inf
            self._pace.leave()
        self._look(self._loop.time())

    def _take_left(self) -> Batch | None:
        """What could not be stored, and what came after it, as one batch; the same again if asked again."""
        if batch := self._batcher.take(self._loop.time()):
            self._batcher.done(self._loop.time())
            self._count(batch, batches=int(self._unsent is None))
            self._unsent = batch if self._unsent is None else self._unsent.followed_by(batch)
        return self._unsent

    def _look(self, now: float) -> None:
        """Sends what is to leave now, or sees to it that somebody looks again when it is."""
        if self._flight is not None or self._is_over:
            return
        if not self._others and not self._closing:
            deadline = self._batcher.deadline()
            if deadline is None:
                return
            if deadline > now:
                if deadline not in (self._at, self.rest.ends_at):
                    if self._debugs:
                        self._logger.debug("flush_scheduled")
                    self._at = deadline
                    self._timers.call_at(deadline, self._come)
                return
        self._at = inf
        if self._last_line:
            self._tell_last()
        elif self._debugs and self._batcher.immediate:
            self._logger.debug("flush_immediate", size=self._batcher.pending_bytes)
        others, self._others = self._others, []
        if self._pace.changes != self._kept:
            self._keep_pace()
        batch = self._batcher.take(now)
        self.rest.learn(batch)
        self._pace.batches += batch is not None
        self._send(batch, others)

    def _come(self, at: float) -> None:
        if at == self._at:  # else something has left since
            self._at = inf
            if self.rest.ends_at != at:  # else it is read now, and there may be something for this batch
                self._look(max(at, self._loop.time()))

    def _store_along(self, at: float) -> None:
        """By itself, if the model says nothing for so long after its first words."""
        if self._along is None or self._closing or self._broken:
            return
        if self._flight is None:
            self._send(None, [])
        else:  # it goes with that one, or comes after it
            self._timers.call_at(at + 1, self._store_along)

    def _keep_pace(self) -> None:
        pace = self._pace
        self._kept = pace.changes
        self._batcher.keep(pace.interval_seconds, pace.ticks, pace.slot(self._number))

    @property
    def _is_over(self) -> bool:
        """Whether nothing is sent any more but the end."""
        return self._broken or (self._closing and not self._others and not self._text_is_last)

    @property
    def _text_is_last(self) -> bool:
        """Whether there is a last text that should not wait for the end's turn, or cannot."""
        waits = bool(self._last_line and self._batcher.pending_tokens)
        return waits and (self._cut_off or self._log.holds_up_ends)

    def _tell_last(self) -> None:
        if not self._last_told:
            self._last_told = True
            self._logger.info(self._last_line, size=self._batcher.pending_bytes)

    def _send(self, batch: Batch | None, others: Sequence[Entry]) -> None:
        told = batch is not None and not self._last_line  # the last one has a line of its own
        if batch is not None and told and self._debugs:
            self._logger.debug("flush_start", size=batch.size_bytes)
        along = None if self._before_text else self._along
        self._flight = _Flight(batch, len(others), told, along)
        try:
            entries = others if batch is None else [*self._text_entries(batch), *others]
            self._log.hand_in(Append(self._session_id, entries, self._turn), self._land, self._doubt, along)
        except Exception as error:
            self._loop.call_soon(self._land, None, error)

    def _land(self, last: int | None, error: Exception | None) -> None:
        """What failed keeps the batch for `finish`; a refused turn drops it: it must not be seen."""
        flight, self._flight = self._flight, None
        assert flight is not None
        batch, now = flight.batch, self._loop.time()
        stored = last is not None
        trouble: StorageUnavailable | None = None
        if error is not None:
            if not isinstance(error, (StorageUnavailable, BusClosed)):
                self._logger.error("flush_failed", exc_info=error)
            trouble = error if isinstance(error, StorageUnavailable) else StorageUnavailable(repr(error))
            self._unsent = batch
        if batch is not None:
            if stored or trouble:  # what failed is stored with the end
                self._count(batch)
            self._batcher.done(now)
        if stored and flight.along is not None:
            self._along = None
        if not stored:
            self._break(trouble)
        elif batch is not None:
            if self._before_text:  # this was the first
                self._before_text = ()
                self._timers.call_at(ceil(now + _ALONG_SECONDS), self._store_along)
            cause = metrics.BYTES if batch.size_bytes > self._batcher.flush_bytes else metrics.INTERVAL
            metrics.flushed(batch, cause if flight.told else metrics.END)
            if flight.told and self._debugs:
                self._logger.debug("flush_done", tokens_sent=batch.tokens)
        self._others_sent += flight.others
        if self._landed_again is not None and not self._landed_again.done():
            self._landed_again.set_result(None)
        self.rest.go_on(now)
        if self._batcher.pending_tokens or self._others:
            self._look(now)

    async def _landed(self) -> None:
        """Until nothing is on its way; who is cancelled meanwhile does not cancel that."""
        while self._flight is not None:
            await self._next_landing()

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
        return [*self._before_text, text]

    def _count(self, batch: Batch, *, batches: int = 1) -> None:
        self.batches += batches
        self.tokens += batch.tokens
        self.text_bytes += batch.size_bytes
        if self.text_bytes > KEPT_BYTES:
            self._texts = None
        elif self._texts is not None:
            self._texts.append(batch.text)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition() and not (self._is_over and self._flight is None):
            await self._next_landing()

    async def _next_landing(self) -> None:
        assert self._landed_again is None or self._landed_again.done(), "for one task"
        self._landed_again = self._loop.create_future()
        await self._landed_again
