"""One stream while this process runs it: it waits for its turn, reads the model, and ends, exactly once.

Log lines and their order are a contract (`docs/troubleshooting.md`): who looks for a hang greps for them.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from uuid import UUID

import structlog

from chat import metrics, turns, wire
from chat.ending import NOT_STORED, end_answer, end_without_text, not_stored, stored
from chat.providers.base import Finish, ModelMessage, ProviderError
from chat.reading import read_model
from chat.stream_log import log_end
from chat.stream_state import EndReason, StreamState
from chat.turns import Accepted, Outcome
from events.bus import EventBus
from events.ended import one_ended
from events.exceptions import StorageUnavailable
from events.groups import Signal
from events.listeners import Delivered
from events.log_transaction import First
from events.publisher import BatchingPublisher

logger = structlog.get_logger(__name__)

STOP = "stop"  # the signal's data: `reason` and the ids of the streams, separated by spaces
_REASONS = frozenset(EndReason)
_AWAITED = frozenset({EndReason.INTERRUPTED, EndReason.STOPPED})  # somebody waits for these ends
_LOOK_AGAIN_SECONDS = 0.5  # how long a waiting stream relies on being told; then it asks the database


class RunningStream:
    """Told by the hub what other processes do to its session. `stop` is all that anybody may do to it."""

    cursor_seq = None  # it does not follow the log

    def __init__(self, bus: EventBus, accepted: Accepted, *, wait_seconds: float | None) -> None:
        """`wait_seconds`: how long the streams before it have to end by themselves; None for as long as they take."""
        self.stream = accepted.stream
        self.session_id: UUID = accepted.stream.session_id
        self._bus = bus
        self._accepted = accepted
        self._stop_reason: EndReason | None = None
        self._trouble = False
        self._first_token_seconds: float | None = None
        self._ending = False
        self._reading: asyncio.Task[Finish] | None = None
        self._news: asyncio.Event | None = None  # while it waits for its turn
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._gives_up_waiting = None if wait_seconds is None else self._started + wait_seconds
        self._trace = self.stream.trace_id.hex

    @property
    def state(self) -> StreamState:
        """Where it stands here; the storage follows with the next batch."""
        return StreamState(self.stream.state) if self._first_token_seconds is None else StreamState.STREAMING

    def stop(self, reason: EndReason) -> bool:
        """Ends the stream soon, with the first such reason; False if it has come to its end by itself."""
        if self._stop_reason is not None:
            return True
        if self._ending or (self._reading is not None and self._reading.done()):
            return False
        self._stop_reason = reason
        shown = "registry_new_stream" if reason is EndReason.INTERRUPTED else reason.value
        logger.info("stream_cancelled", trace=self._trace, reason=shown)
        self.look_again()
        if self._reading is not None:
            self._reading.cancel()
        return True

    def look_again(self) -> None:
        """If it waits for its turn, that may have come."""
        if self._news is not None:
            self._news.set()

    async def run(self, is_here: Callable[[UUID], bool]) -> None:
        """The stream, from its acceptance to its end. `is_here`: whether this process runs the stream of that id."""
        try:
            await self._bus.hub.join(self)
            if self._accepted.begun or await self._begin(is_here):
                await self._answer()
        except Exception:
            logger.exception("stream_failed", trace=self._trace)
            self._ending = True
            await end_without_text(self._bus, self.stream, self._seconds(), self._first_token_seconds)
        finally:
            self._bus.hub.leave(self)

    # --- told by the hub ---

    def was_told(self) -> bool:
        return True  # it does not follow the log

    def on_events(self, delivered: Sequence[Delivered]) -> None:
        for event, _ in delivered:
            if event.type in wire.TERMINAL:
                self.look_again()

    def on_signal(self, signal: Signal) -> None:
        if signal.name == STOP:
            reason, *stream_ids = signal.data.split() or [""]
            if self.stream.id.hex in stream_ids and reason in _REASONS:  # another version may know more of them
                self.stop(EndReason(reason))

    def on_loss(self) -> None:
        self.look_again()

    # --- its turn ---

    async def _begin(self, is_here: Callable[[UUID], bool]) -> bool:
        """Waits until the streams before it have ended; False if it was ended without beginning."""
        while True:
            self._news = asyncio.Event()
            if self._stop_reason not in (None, EndReason.INTERRUPTED) and self.stream.rollback_from is None:
                return await self._end_unbegun()  # else it ends when its turn comes, and does what comes before that
            now = self._loop.time()
            force = self._gives_up_waiting is not None and now >= self._gives_up_waiting
            if force or not any(is_here(before.id) for before in self._accepted.before):
                begun = await stored(self._bus, partial(turns.begin, stream_id=self.stream.id, force=force))
                if begun is not None:
                    return self._has_begun(begun)
            until = now + _LOOK_AGAIN_SECONDS
            if self._gives_up_waiting is not None and not force:
                until = min(until, self._gives_up_waiting)
            try:
                async with asyncio.timeout_at(until):
                    await self._news.wait()
            except TimeoutError:
                pass

    def _has_begun(self, begun: turns.Begun) -> bool:
        ended_here = {stream.id for stream in begun.ended}
        for stream in begun.ended:
            log_end(stream)
        self.stream = begun.stream or self.stream
        if begun.stream is None or begun.stream.reason:
            self._ending = True
            return False
        for before in self._accepted.before:
            if before.id not in ended_here:
                logger.info("prev_stream_finished_cleanly", session=str(self.session_id), trace=before.trace_id.hex)
        return True

    async def _end_unbegun(self) -> bool:
        assert self._stop_reason is not None
        outcome = Outcome(self._stop_reason, duration_seconds=self._seconds())
        ended = await stored(self._bus, partial(turns.end, stream_id=self.stream.id, outcome=outcome))
        self._ending = True
        if ended is not None:
            log_end(ended)
        return False

    # --- its answer ---

    async def _answer(self) -> None:
        stream, said = self.stream, self._said()
        for each in (stream, self._accepted.stream, *self._accepted.before):  # for minutes, and prompts may be long
            each.let_go()
        logger.info("first_event", trace=self._trace, session=str(self.session_id), status="thinking")
        assert stream.message_id is not None
        self._speaking = wire.status(stream, StreamState.STREAMING)  # now: many may begin to speak in one moment
        publisher = BatchingPublisher(
            self._bus.log,
            stream.session_id,
            stream.id,
            stream.turn,
            text_type=wire.TOKEN,
            encode=wire.token_encoder(stream.id, stream.message_id),
            before_first=self._first_token,
            on_trouble=self._in_trouble,
            timers=self._bus.timers,
        )
        try:
            outcome = await self._read(publisher, said)
            first_token_seconds, seconds = self._first_token_seconds, self._seconds()
            outcome = replace(outcome, duration_seconds=seconds, first_token_seconds=first_token_seconds)
            self._ending = True
            at_once = self._trouble or outcome.reason in _AWAITED
            async with nullcontext() if at_once else self._bus.ends.entered():
                if self._trouble:  # since then
                    outcome = not_stored(outcome)
                await end_answer(self._bus, self.stream, publisher, outcome)
        finally:  # this task may be cancelled: who drains has no more time for it
            await publisher.aclose()

    def _said(self) -> list[ModelMessage] | None:
        """What the model is to answer, if that need not be read: a first prompt, in a process that is alone.

        Where there are others, one may have asked to stop it before this process could hear of that: reading would
        tell. (Processes that share a SQLite file alone never hear of each other: their stops come with the lease.)
        """
        prompt = self._accepted.stream.prompt if self._accepted.begun and self._bus.is_alone else None
        if prompt is None or prompt.parent_id is not None:
            return None
        return [ModelMessage(prompt.role, prompt.text)]

    async def _read(self, publisher: BatchingPublisher, said: list[ModelMessage] | None) -> Outcome:
        self._reading = self._loop.create_task(read_model(self.stream, publisher, self.stop, said))
        if self._stop_reason is not None or self._trouble:
            self._reading.cancel()
        try:
            await one_ended(self._reading)
        finally:
            self._reading.cancel()  # nothing, unless this task itself was cancelled
        if self._trouble:
            return NOT_STORED
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

    def _first_token(self) -> First:
        seconds = self._first_token_seconds = self._seconds()
        metrics.first_token_seconds.observe(seconds)
        return turns.first_token(self.stream, self._speaking, seconds)

    def _in_trouble(self, error: StorageUnavailable | None) -> None:
        """The log refused the turn (`error` None): another process has ended this stream. Or it cannot be written."""
        self._trouble = error is not None
        if error is None and self._stop_reason is None:
            self._stop_reason = EndReason.INTERRUPTED
        if self._reading is not None:
            self._reading.cancel()

    def _seconds(self) -> float:
        return round(self._loop.time() - self._started, 6)
