"""How a stream's end gets into the storage, whatever state that is in."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import structlog

from chat import turns
from chat.models import Stream
from chat.stream_log import log_end
from chat.stream_state import EndReason
from chat.turns import Outcome, TurnLost
from events.bus import EventBus
from events.core.event import encode_data
from events.exceptions import StorageUnavailable
from events.log_transaction import Entry, LogTransaction
from events.publisher import BatchingPublisher

logger = structlog.get_logger(__name__)
T = TypeVar("T")

STORAGE_ERROR = "storage_error"  # the signal's data: that of a `chat.error`, which cannot be stored yet
NOT_STORED = Outcome(EndReason.STORAGE_ERROR, "The answer could not be stored. Ask again in a moment.", retryable=True)
_STORE_AGAIN_SECONDS = 1.0


def not_stored(outcome: Outcome) -> Outcome:
    """As that one ended, had it not been for the storage."""
    seconds, first_token_seconds = outcome.duration_seconds, outcome.first_token_seconds
    return replace(NOT_STORED, duration_seconds=seconds, first_token_seconds=first_token_seconds)


async def end_answer(bus: EventBus, stream: Stream, publisher: BatchingPublisher, outcome: Outcome) -> None:
    """Stores the last text and the end; if the storage is away, tells the viewers now and stores them later."""
    natural = outcome.reason in (EndReason.COMPLETED, EndReason.LENGTH)
    line = "flush_on_end" if natural else "flush_on_cleanup"

    def work(log: LogTransaction, entries: Sequence[Entry]) -> Stream | None:
        tokens, batches, text_bytes = publisher.tokens, publisher.batches, publisher.text_bytes
        counted = replace(outcome, tokens=tokens, batches=batches, text_bytes=text_bytes)
        return turns.end(log, stream.id, counted, entries, publisher.text)

    if outcome.reason is EndReason.STORAGE_ERROR:
        _tell_unstored(bus, stream)
    trace = stream.trace_id.hex
    ended: Stream | None = None
    failed = False
    while True:
        try:
            ended = await publisher.finish(line, work, partial(_tell_unstored, bus, stream))
        except StorageUnavailable as error:
            if not failed:  # an outage may last, and what is tried again every few seconds is one failure
                failed = True
                logger.info("event_buffer_cleanup_error", trace=trace, err=repr(error))
            outcome = not_stored(outcome)
            _tell_unstored(bus, stream)
            await asyncio.sleep(_STORE_AGAIN_SECONDS)
            continue
        except TurnLost:
            pass
        except Exception as error:
            logger.info("event_buffer_cleanup_error", trace=trace, err=repr(error))
            raise
        break
    logger.info("event_buffers_cleaned", trace=trace)
    if ended is not None:
        log_end(ended)
    else:
        logger.info("stream_fenced", trace=trace)  # who took the turn has ended it, and has said so


async def end_without_text(bus: EventBus, stream: Stream, seconds: float, first_token_seconds: float | None) -> None:
    """The end of a stream that could not be ended as it should be; what viewers were given is kept."""
    outcome = replace(NOT_STORED, duration_seconds=seconds, first_token_seconds=first_token_seconds)
    ended = await stored(bus, partial(turns.end, stream_id=stream.id, outcome=outcome, force=True))
    if ended is not None:
        log_end(ended)


async def stored(bus: EventBus, work: Callable[[LogTransaction], T]) -> T:
    """A stream that waits for its turn, or ends, can wait for the storage as well."""
    while True:
        try:
            return await bus.transaction(work, _wait_on)
        except StorageUnavailable:
            await asyncio.sleep(_STORE_AGAIN_SECONDS)


def _wait_on() -> None:
    """Nobody is to be told that it takes long to know whether this is stored."""


def _tell_unstored(bus: EventBus, stream: Stream) -> None:
    data = {
        "stream_id": str(stream.id),
        "message_id": str(stream.message_id),
        "code": NOT_STORED.reason.value,
        "message": NOT_STORED.error_message,
        "retryable": NOT_STORED.retryable,
    }
    bus.signal(stream.session_id, STORAGE_ERROR, encode_data(data))
