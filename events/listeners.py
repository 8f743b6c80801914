"""Who is told what happens in a session."""

from collections.abc import Callable, Collection
from typing import Protocol
from uuid import UUID

import structlog

from events.core import sse
from events.core.event import Event
from events.groups import Signal

logger = structlog.get_logger(__name__)


class Listener(Protocol):
    """Told of one session. The methods return at once and never raise."""

    session_id: UUID

    @property
    def cursor_seq(self) -> int | None:
        """The last seq it has been given; None: it does not follow the log."""
        ...

    def on_event(self, event: Event, frame: bytes) -> None: ...

    def on_signal(self, signal: Signal) -> None: ...

    def on_loss(self) -> None: ...


def tell(listeners: Collection[Listener], news: Event | Signal) -> None:
    """Raises what `sse.encode` raises; nobody is told then."""
    if isinstance(news, Signal):
        tell_each(listeners, lambda listener: listener.on_signal(news))
        return
    frame = sse.encode(news)  # once a process, not once a viewer
    for listener in tuple(listeners):
        try:
            listener.on_event(news, frame)
        except Exception:
            _failed()


def tell_each(listeners: Collection[Listener], how: Callable[[Listener], None]) -> None:
    for listener in tuple(listeners):
        try:
            how(listener)
        except Exception:
            _failed()


def _failed() -> None:
    """It is one's own misfortune, not that of the others in the session."""
    logger.exception("listener_failed")
