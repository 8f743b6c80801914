"""One stream while this process runs it: it waits for its turn, reads the model, and ends, exactly once.

Log lines and their order are a contract (`docs/troubleshooting.md`): who looks for a hang greps for them.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog

from chat import turns, wire
from chat.models import Stream
from chat.providers.base import Finish, ProviderError
from chat.reading import read_model
from chat.stream_state import EndReason
from chat.turns import Accepted, Outcome, TurnLost
from events.bus import EventBus
from events.core.event import Event, encode_data
from events.exceptions import StorageUnavailable
from events.groups import Signal
from events.log_transaction import Entry, LogTransaction
from events.publisher import BatchingPublisher

logger = structlog.get_logger(__name__)
T = TypeVar("T")

STOP = "stop"  # the signal's data: `reason` and the ids of the streams, separated by spaces
STORAGE_ERROR = "storage_error"  # the signal's data: that of a `chat.error`, which cannot be stored yet
_LOOK_AGAIN_SECONDS = 0.5  # how long a waiting stream relies on being told; then it asks the database
_STORE_AGAIN_SECONDS = 1.0
_NOT_STORED = Outcome(EndReason.STORAGE_ERROR, "The answer could not be stored. Ask again in a moment.", retryable=True)


class RunningStream:
    """Told by the hub what other processes do to its session. `stop` is all that anybody may do to it."""

    cursor_seq = None  # it does not follow the log

    def __init__(self, bus: EventBus, accepted: Accepted, *, wait_seconds: float | None) -> None:
        """`wait_seconds`: how long the streams before it have to end by themselves; None for as long as they take."""
        self.stream = accepted.stream
        self.session_id: UUID = accepted.stream.session_id
        self.ended = asyncio.Event()
        self.news = asyncio.Event()
        self._bus = bus
        self._accepted = accepted
        self._stop_reason: EndReason | None = None
        self._trouble = False
        self._ending = False
        self._reading: asyncio.Task[Finish] | None = None
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._gives_up_waiting = None if wait_seconds is None else self._started + wait_seconds
        self._trace = self.stream.trace_id.hex

    def stop(self, reason: EndReason) -> bool:
        """Ends the stream soon, with this reason; False if it is ending already."""
        if self._stop_reason is not None or self._ending:
            return False
        self._stop_reason = reason
        shown = "registry_new_stream" if reason is EndReason.INTERRUPTED else reason.value
        logger.info("stream_cancelled", trace=self._trace, reason=shown)
        self.news.set()
        if self._reading is not None:
            self._reading.cancel()
        return True

    async def run(self, is_here: Callable[[UUID], bool]) -> None:
        """The stream, from its acceptance to its end. `is_here`: whether this process runs the stream of that id."""
        await self._bus.hub.join(self)
        try:
            if self._accepted.begun or await self._begin(is_here):
                await self._answer()
        except Exception:
            logger.exception("stream_failed", trace=self._trace)
            self._ending = True
            await self._end_without_text()
        finally:
            self._bus.hub.leave(self)

    # --- told by the hub ---

    def on_event(self, event: Event, frame: bytes) -> None:
        if event.type in wire.TERMINAL:
            self.news.set()

    def on_signal(self, signal: Signal) -> None:
        if signal.name == STOP:
            reason, *stream_ids = signal.data.split()
            if self.stream.id.hex in stream_ids:
                self.stop(EndReason(reason))

    def on_loss(self) -> None:
        self.news.set()

    # --- its turn ---

    async def _begin(self, is_here: Callable[[UUID], bool]) -> bool:
        """Waits until the streams before it have ended; False if it was ended without beginning."""
        while True:
            self.news.clear()
            if self._stop_reason not in (None, EndReason.INTERRUPTED) and self.stream.rollback_from is None:
                return await self._end_unbegun()  # else it ends when its turn comes, and does what comes before that
            now = self._loop.time()
            force = self._gives_up_waiting is not None and now >= self._gives_up_waiting
            if force or not any(is_here(before.id) for before in self._accepted.before):
                begun = await self._stored(partial(turns.begin, stream_id=self.stream.id, force=force))
                if begun is not None:
                    return self._has_begun(begun)
            until = now + _LOOK_AGAIN_SECONDS
            if self._gives_up_waiting is not None and not force:
                until = min(until, self._gives_up_waiting)
            try:
                async with asyncio.timeout_at(until):
                    await self.news.wait()
            except TimeoutError:
                pass

    def _has_begun(self, begun: turns.Begun) -> bool:
        ended_here = {stream.id for stream in begun.ended}
        for stream in begun.ended:
            log_end(stream)
        self.stream = begun.stream
        if begun.stream.reason:
            self._ending = True
            return False
        for before in self._accepted.before:
            if before.id not in ended_here:
                logger.info("prev_stream_finished_cleanly", session=str(self.session_id), trace=before.trace_id.hex)
        return True

    async def _end_unbegun(self) -> bool:
        assert self._stop_reason is not None
        outcome = Outcome(self._stop_reason, duration_seconds=self._seconds())
        ended = await self._stored(partial(turns.end, stream_id=self.stream.id, outcome=outcome))
        self._ending = True
        if ended is not None:
            log_end(ended)
        return False

    async def _stored(self, work: Callable[[LogTransaction], T]) -> T:
        """A stream that waits can wait for the storage as well."""
        while True:
            try:
                return await self._bus.transaction(work)
            except StorageUnavailable:
                await asyncio.sleep(_STORE_AGAIN_SECONDS)

    # --- its answer ---

    async def _answer(self) -> None:
        stream = self.stream
        logger.info("first_event", trace=self._trace, session=str(self.session_id), status="thinking")
        assert stream.message_id is not None
        publisher = BatchingPublisher(
            self._bus.log,
            stream.session_id,
            stream.id,
            stream.turn,
            text_type=wire.TOKEN,
            encode=wire.token_encoder(stream.id, stream.message_id),
            before_first=lambda: turns.first_token(stream, self._seconds()),
            on_trouble=self._in_trouble,
        )
        outcome = await self._read(publisher)
        self._ending = True
        await self._end(publisher, outcome)

    async def _read(self, publisher: BatchingPublisher) -> Outcome:
        self._reading = self._loop.create_task(read_model(self.stream, publisher))
        if self._stop_reason is not None or self._trouble:
            self._reading.cancel()
        try:
            await asyncio.wait([self._reading])
        finally:
            self._reading.cancel()  # nothing, unless this task itself was cancelled
        if self._trouble:
            return _NOT_STORED
        if self._reading.cancelled():
            return Outcome(self._stop_reason or EndReason.SHUTDOWN)
        error = self._reading.exception()
        if error is None:
            finish = self._reading.result()
            return Outcome(
                finish.reason, prompt_tokens=finish.prompt_tokens, completion_tokens=finish.completion_tokens
            )
        if isinstance(error, ProviderError):
            return Outcome(error.code, error.message, error.retryable)
        logger.error("stream_failed", trace=self._trace, exc_info=error)
        return Outcome(EndReason.PROVIDER_ERROR, "Something went wrong here. Ask again.", retryable=True)

    async def _end(self, publisher: BatchingPublisher, outcome: Outcome) -> None:
        """Stores the end; if the storage is away, tells the viewers now and stores it when it is back."""
        natural = outcome.reason in (EndReason.COMPLETED, EndReason.LENGTH)
        line = "flush_on_end" if natural else "flush_on_cleanup"
        seconds = self._seconds()

        def work(log: LogTransaction, entries: Sequence[Entry]) -> Stream | None:
            counted = Outcome(
                outcome.reason,
                outcome.error_message,
                outcome.retryable,
                outcome.prompt_tokens,
                outcome.completion_tokens,
                seconds,
                publisher.tokens,
                publisher.batches,
                publisher.text_bytes,
            )
            return turns.end(log, self.stream.id, counted, entries)

        if outcome.reason is EndReason.STORAGE_ERROR:
            self._tell_unstored(outcome)
        while True:
            try:
                ended = await publisher.finish(line, work)
            except StorageUnavailable:
                outcome = _NOT_STORED
                self._tell_unstored(outcome)
                await asyncio.sleep(_STORE_AGAIN_SECONDS)
            except TurnLost:
                ended = None
                break
            except Exception as error:
                logger.info("event_buffer_cleanup_error", trace=self._trace, err=repr(error))
                raise
            else:
                break
        logger.info("event_buffers_cleaned", trace=self._trace)
        if ended is not None:
            log_end(ended)
        else:
            logger.info("stream_fenced", trace=self._trace)  # who took the turn has ended it, and has said so

    async def _end_without_text(self) -> None:
        """The end of a stream that could not be ended as it should be; what viewers were given is kept."""
        outcome = replace(_NOT_STORED, duration_seconds=self._seconds())
        ended = await self._stored(partial(turns.end, stream_id=self.stream.id, outcome=outcome, force=True))
        if ended is not None:
            log_end(ended)

    def _in_trouble(self, error: StorageUnavailable | None) -> None:
        """The log refused the turn (`error` None): another process has ended this stream. Or it cannot be written."""
        self._trouble = error is not None
        if error is None and self._stop_reason is None:
            self._stop_reason = EndReason.INTERRUPTED
        if self._reading is not None:
            self._reading.cancel()

    def _tell_unstored(self, outcome: Outcome) -> None:
        data = {
            "stream_id": str(self.stream.id),
            "message_id": str(self.stream.message_id),
            "code": outcome.reason.value,
            "message": outcome.error_message,
            "retryable": outcome.retryable,
        }
        self._bus.signal(self.session_id, STORAGE_ERROR, encode_data(data))

    def _seconds(self) -> float:
        return round(self._loop.time() - self._started, 6)


def log_start(stream: Stream) -> None:
    logger.info("stream_start", trace=stream.trace_id.hex, stream_id=str(stream.id), session=str(stream.session_id))


def log_end(stream: Stream) -> None:
    """Once a stream, by whoever ended it."""
    logger.info(
        "stream_end",
        trace=stream.trace_id.hex,
        session=str(stream.session_id),
        reason=stream.reason,
        cleanup_done=True,
    )
