"""Threads of the event log, each with a connection of its own. What runs there ends, whatever PostgreSQL does."""

from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from django.db import DatabaseError, InterfaceError, connection

from events.deadline import Deadline, until
from events.threads import Threads

logger = structlog.get_logger(__name__)
T = TypeVar("T")

CLOSE_SECONDS = 2.0  # how long a storage that is away may delay the close, each time that it is asked for anything


class LogThreads:
    """Belongs to one event loop."""

    def __init__(self, count: int, name: str) -> None:
        self._threads = Threads(count, name, _close_connection)

    async def run(self, deadline: Deadline, function: Callable[..., T], *arguments: Any) -> T:
        """Raises what the function raises: OperationalError, if PostgreSQL does not answer by the deadline."""
        return await self._threads.run(_run, deadline, function, arguments)

    async def aclose(self) -> None:
        """A thread that is stuck is left behind."""
        if stuck := await self._threads.aclose(2 * CLOSE_SECONDS):
            logger.warning("event_log_threads_left", count=stuck)


def _run(deadline: Deadline, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    with until(deadline):
        return function(*arguments)


def _close_connection() -> None:
    try:
        connection.close()
    except (DatabaseError, InterfaceError) as error:
        logger.debug("connection_not_closed", err=repr(error))
