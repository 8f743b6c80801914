"""Who is told what happens in a session."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

import structlog

from events.core import sse
from events.core.event import Event
from events.groups import Signal

logger = structlog.get_logger(__name__)

News = tuple[UUID, Event | Signal]

_TOGETHER = 16  # events that are handed on at once: who has many takes turns with the others of its loop


class Delivered(NamedTuple):
    """An event and its SSE frame, which all viewers of a process share."""

    event: Event
    frame: bytes


class Listener(Protocol):
    """Told of one session. The methods return at once and never raise."""

    session_id: UUID

    @property
    def cursor_seq(self) -> int | None:
        """The last seq it has been given; None: it does not follow the log."""
        ...

    def was_told(self) -> bool:
        """Whether it has been given events since it was last asked this; True too if it does not follow the log."""
        ...

    def on_events(self, delivered: Sequence[Delivered]) -> None:
        """At least one; each follows the one before it."""
        ...

    def on_signal(self, signal: Signal) -> None: ...

    def on_loss(self) -> None: ...


def end_of_next(all_news: Sequence[News], start: int) -> int:
    """Where that ends which can be told in one go: a signal, or events of one session without a hole between them.

    So what was stored together is written together: a first text with its status, the last one with the end.
    """
    session_id, first = all_news[start]
    end = start + 1
    if isinstance(first, Signal):
        return end
    seq = first.seq
    while end < len(all_news) and end < start + _TOGETHER:
        other_id, other = all_news[end]
        seq += 1
        if other_id is not session_id or isinstance(other, Signal) or other.seq != seq:
            break
        end += 1
    return end


def tell(listeners: Collection[Listener], all_news: Sequence[News]) -> None:
    """What can be told in one go. Raises what `sse.encode` raises; nobody is told then."""
    delivered: list[Delivered] = []
    for _, news in all_news:
        if isinstance(news, Signal):
            _tell_signal(listeners, news)
            return
        delivered.append(Delivered(news, sse.encode(news)))  # once a process, not once a viewer
    for listener in tuple(listeners):
        try:
            listener.on_events(delivered)
        except Exception:
            _failed()


def _tell_signal(listeners: Collection[Listener], signal: Signal) -> None:
    tell_each(listeners, lambda listener: listener.on_signal(signal))


def tell_each(listeners: Collection[Listener], how: Callable[[Listener], None]) -> None:
    for listener in tuple(listeners):
        try:
            how(listener)
        except Exception:
            _failed()


def _failed() -> None:
    """It is one's own misfortune, not that of the others in the session."""
    logger.exception("listener_failed")
