"""Threads of the event log, each with a connection of its own. What runs there ends, whatever PostgreSQL does."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import structlog
from django.db import DatabaseError, InterfaceError, connection

from events.deadline import Deadline, until

logger = structlog.get_logger(__name__)
T = TypeVar("T")

CLOSE_SECONDS = 2.0  # how long a storage that is away may delay the close, each time that it is asked for anything


class LogThreads:
    """Belongs to one event loop."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._pool = ThreadPoolExecutor(count, name)

    async def run(self, deadline: Deadline, function: Callable[..., T], *arguments: Any) -> T:
        """Raises what the function raises: OperationalError, if PostgreSQL does not answer by the deadline."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _run, deadline, function, arguments)

    async def aclose(self) -> None:
        """A thread that is stuck is left behind."""
        loop = asyncio.get_running_loop()
        together = threading.Barrier(self._count)  # so that each thread closes its own connection
        closing = [loop.run_in_executor(self._pool, _close_connection, together) for _ in range(self._count)]
        _, stuck = await asyncio.wait(closing, timeout=2 * CLOSE_SECONDS)
        if stuck:
            logger.warning("event_log_threads_left", count=len(stuck))
        self._pool.shutdown(wait=False, cancel_futures=True)


def _run(deadline: Deadline, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    with until(deadline):
        return function(*arguments)


def _close_connection(together: threading.Barrier) -> None:
    with suppress(threading.BrokenBarrierError):  # one of them is stuck; the others do not wait for it
        together.wait(timeout=CLOSE_SECONDS)
    try:
        connection.close()
    except (DatabaseError, InterfaceError) as error:
        logger.debug("connection_not_closed", err=repr(error))
