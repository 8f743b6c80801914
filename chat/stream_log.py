"""A stream's first and last line in the log, where it is counted too: each once, whichever process writes it."""

import structlog

from chat import metrics
from chat.models import Stream

logger = structlog.get_logger(__name__)


def log_start(stream: Stream) -> None:
    metrics.streams_started.add()
    logger.info("stream_start", trace=stream.trace_id.hex, stream_id=str(stream.id), session=str(stream.session_id))


def log_end(stream: Stream) -> None:
    """Once a stream, by whoever ended it."""
    metrics.streams_ended.add(1, stream.state, stream.reason)
    logger.info(
        "stream_end",
        trace=stream.trace_id.hex,
        session=str(stream.session_id),
        reason=stream.reason,
        cleanup_done=True,
    )
