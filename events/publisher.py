"""The events of one stream, on their way out: text in batches, everything else in its order behind it.

One long-lived task a stream sleeps until the deadline that the batcher gives; adding a token costs no task and no
timer. Only that sleep is ever cut short: a batch that has been taken is waited for, since a cancelled one is lost
(`traps.md` 42).
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog

from events.conf import conf
from events.core.batching import Batch, Batcher
from events.event_log import EventLog
from events.exceptions import StorageUnavailable
from events.log_transaction import Entry, LogTransaction

logger = structlog.get_logger(__name__)
T = TypeVar("T")


class BatchingPublisher:
    """`encode` makes a batch's text the data of a `text_type` event.

    `before_first` is asked when the first token comes: what it gives runs in the transaction of the first batch, and
    the entries that returns go before the text.
    `on_trouble` is called once, on the loop, when the log has refused the turn (None) or cannot be written.
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
        before_first: Callable[[], Callable[[LogTransaction], Sequence[Entry]]],
        on_trouble: Callable[[StorageUnavailable | None], None],
    ) -> None:
        self.batches = self.tokens = self.text_bytes = 0
        self._log = log
        self._session_id = session_id
        self._stream_id = stream_id
        self._turn = turn
        self._text_type = text_type
        self._encode = encode
        self._before_first: Callable[[], Callable[[LogTransaction], Sequence[Entry]]] | None = before_first
        self._first: Callable[[LogTransaction], Sequence[Entry]] | None = None
        self._on_trouble = on_trouble
        self._loop = asyncio.get_running_loop()
        self._batcher = Batcher(conf.flush_interval_seconds, conf.flush_bytes)
        self._max_pending_bytes = conf.max_pending_bytes
        self._unsent: Batch | None = None
        self._broken = self._closing = False
        self._left: Batch | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._deadline: float | None = None
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
        if self._deadline is None or self._batcher.immediate:
            self._wake()

    async def room(self) -> None:
        """Returns when less waits than `EVENTS_MAX_PENDING_BYTES`."""
        while self.full and not self._broken:
            self._room = self._loop.create_future()
            await self._room

    async def publish(self, *entries: Entry) -> None:
        """Other events of the stream; waiting text leaves before them, in the same commit."""
        await self._idle()
        batch = self._batcher.take(self._loop.time())
        try:
            await self._append(batch, entries)
        finally:
            if batch is not None:
                self._batcher.done(self._loop.time())

    async def finish(self, line: str, work: Callable[[LogTransaction, Sequence[Entry]], T]) -> T:
        """Ends the flushing; then `work` gets what text is left as entries, to store it with the end of the stream.

        `line` names the flush in the log (`flush_on_end`, `flush_on_cleanup`). Raises what the transaction raises;
        may then be called again.
        """
        await self._close()
        left = self._left = self._left or self._take_left()
        entries = [] if left is None else [self._text_entry(left)]
        self._logger.info(line, size=0 if left is None else left.size_bytes)
        first = self._first if left is not None else None

        def last_work(log: LogTransaction) -> T:
            return work(log, [*(first(log) if first is not None else ()), *entries])

        result = await self._log.transaction(last_work)
        self._logger.info("cleanup_buffer")
        return result

    # --- inside ---

    def _take_left(self) -> Batch | None:
        """A batch that could not be stored, and what came after it; counted here, once."""
        batches = [batch for batch in (self._unsent, self._batcher.take(self._loop.time())) if batch is not None]
        if not batches:
            return None
        for batch in batches:
            self._count(batch)
        text = "".join(batch.text for batch in batches)
        return Batch(text, sum(batch.tokens for batch in batches), sum(batch.size_bytes for batch in batches))

    async def _flush(self) -> None:
        while not self._closing:
            self._deadline = self._batcher.deadline()
            now = self._loop.time()
            if self._deadline is None or self._deadline > now:
                await self._sleep(self._deadline)
                continue
            if self._batcher.immediate:
                self._logger.debug("flush_immediate", size=self._batcher.pending_bytes)
            batch = self._batcher.take(now)
            assert batch is not None
            self._deadline = None
            self._logger.debug("flush_start", size=batch.size_bytes)
            await self._append(batch, ())
            self._batcher.done(self._loop.time())
            if self._broken:
                return

    async def _sleep(self, deadline: float | None) -> None:
        self._waiter = self._loop.create_future()
        timer = None
        if deadline is not None:
            timer = self._loop.call_at(deadline, self._wake)
            self._logger.debug("flush_scheduled")
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
                if self._closing:
                    self._logger.debug("flush_cancelled")

    async def _append(self, batch: Batch | None, entries: Sequence[Entry]) -> None:
        """Broken storage keeps the batch for `finish`; a refused turn drops it: it must not be seen."""
        if batch is not None:
            entries = (self._text_entry(batch), *entries)
        if self._broken or not entries:
            return
        trouble: StorageUnavailable | None = None
        try:
            if self._first is None or batch is None:
                last = await self._log.append(self._session_id, entries, self._turn)
            else:
                last = await self._log.transaction(partial(self._append_first, self._first, entries))
                self._first = None
        except StorageUnavailable as error:
            last, trouble, self._unsent = None, error, batch
        if last is None:
            self._broken = True
            self._on_trouble(trouble)
        elif batch is not None:
            self._count(batch)
            self._logger.debug("flush_done", tokens_sent=batch.tokens)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _append_first(
        self, first: Callable[[LogTransaction], Sequence[Entry]], entries: Sequence[Entry], log: LogTransaction
    ) -> int | None:
        return log.append(self._session_id, *first(log), *entries, turn=self._turn)

    def _text_entry(self, batch: Batch) -> Entry:
        return Entry(self._text_type, self._encode(batch.text), self._stream_id)

    def _count(self, batch: Batch) -> None:
        self.batches += 1
        self.tokens += batch.tokens
        self.text_bytes += batch.size_bytes

    async def _idle(self) -> None:
        """Until no flush is in flight. Whoever calls `publish` is the stream's one task, so nobody overtakes it."""
        while self._batcher.in_flight and not self._broken:
            self._room = self._loop.create_future()
            await self._room

    async def _close(self) -> None:
        if not self._closing:
            self._closing = True
            self._wake()
            self._logger.info("cleanup_flush_task")
        await self._task

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
