"""The states of a stream, the reasons of its end, and what may follow what. Pure.

A message that a stream writes has the stream's state. The database, the wire and the admin use these same values.
"""

from enum import StrEnum


class StreamState(StrEnum):
    QUEUED = "queued"  # its turn has not come: a stream before it in its session has not ended yet
    THINKING = "thinking"  # it has the session; no token yet
    STREAMING = "streaming"
    COMPLETED = "completed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class EndReason(StrEnum):
    """Why a stream ended: the reasons of `chat.end`, then the codes of `chat.error`."""

    COMPLETED = "completed"
    LENGTH = "length"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    DISCONNECTED = "disconnected"
    SHUTDOWN = "shutdown"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    PROVIDER_TIMEOUT = "provider_timeout"
    PROVIDER_ERROR = "provider_error"
    WORKER_LOST = "worker_lost"
    STORAGE_ERROR = "storage_error"


NEXT: dict[StreamState, frozenset[StreamState]] = {
    StreamState.QUEUED: frozenset(
        {StreamState.THINKING, StreamState.STOPPED, StreamState.INTERRUPTED, StreamState.FAILED}
    ),
    StreamState.THINKING: frozenset(
        {
            StreamState.STREAMING,
            StreamState.COMPLETED,  # a model may answer with nothing
            StreamState.STOPPED,
            StreamState.INTERRUPTED,
            StreamState.FAILED,
        }
    ),
    StreamState.STREAMING: frozenset(
        {StreamState.COMPLETED, StreamState.STOPPED, StreamState.INTERRUPTED, StreamState.FAILED}
    ),
    StreamState.COMPLETED: frozenset(),
    StreamState.STOPPED: frozenset(),
    StreamState.INTERRUPTED: frozenset(),
    StreamState.FAILED: frozenset(),
}

ENDED = frozenset(state for state, following in NEXT.items() if not following)
ACTIVE = frozenset({StreamState.THINKING, StreamState.STREAMING})
UNFINISHED = frozenset(NEXT) - ENDED

_ENDS: dict[EndReason, StreamState] = {
    EndReason.COMPLETED: StreamState.COMPLETED,
    EndReason.LENGTH: StreamState.COMPLETED,
    EndReason.STOPPED: StreamState.STOPPED,
    EndReason.DISCONNECTED: StreamState.STOPPED,
    EndReason.SHUTDOWN: StreamState.STOPPED,
    EndReason.INTERRUPTED: StreamState.INTERRUPTED,
}


def end_state(reason: EndReason) -> StreamState:
    """The state in which a stream ends for this reason; every error code is `failed`."""
    return _ENDS.get(reason, StreamState.FAILED)


def is_error(reason: EndReason) -> bool:
    """Whether viewers are told with `chat.error` instead of `chat.end`."""
    return reason not in _ENDS
