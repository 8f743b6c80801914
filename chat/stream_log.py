"""The first and the last line of a stream in the log: each once, whichever process writes it."""

import structlog

from chat.models import Stream

logger = structlog.get_logger(__name__)


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
