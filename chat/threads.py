"""Database work away from the event loop, and away from Django's one shared thread."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.db import OperationalError, close_old_connections

from chat.exceptions import Overloaded
from events.conf import conf
from events.deadline import Deadline, until
from events.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")

# All `sync_to_async` calls of all consumers share one thread: a slow query there stalls every viewer. SQLite has
# one writer and PostgreSQL a pool (DATABASE_CONNECTIONS), so many more would only wait for each other.
_THREADS = 4
_database_threads = Threads(_THREADS, "chat-database")


class _Searches:
    """One thread for what reads everything a caller has: those who log in, ask or follow do not wait behind it."""

    def __init__(self) -> None:
        self.threads = Threads(1, "chat-search")
        self.unfinished = 0


_searches = _Searches()


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a synchronous function that uses the database on one of four threads of its own.

    A cancelled caller does not wait: work that has not begun never begins, work that has begun runs to its end,
    unless that of the process comes first. Raises OperationalError after `EVENTS_STORAGE_TIMEOUT_SECONDS`, and lets go
    of a PostgreSQL that does not answer.
    """
    return await _run(_database_threads, function, *args, **kwargs)


async def in_search_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `in_thread`, on the one thread of searches. Raises Overloaded if `CHAT_MAX_SEARCHES` run or wait."""
    if _searches.unfinished >= settings.CHAT_MAX_SEARCHES:
        raise Overloaded
    _searches.unfinished += 1
    try:
        return await _run(_searches.threads, function, *args, **kwargs)
    finally:
        _searches.unfinished -= 1


async def _run(threads: Threads, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    context = contextvars.copy_context()
    seconds = conf.storage_timeout_seconds
    deadline = Deadline(seconds)
    try:
        async with asyncio.timeout(seconds):
            return await threads.run(context.run, _connected, deadline, function, args, kwargs)
    except TimeoutError as error:
        raise OperationalError("the database does not answer") from error


def _connected(deadline: Deadline, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
    with until(deadline):
        # Drops a connection that broke, checks one that idled; SQLite's stays open, PostgreSQL's goes back to its pool.
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()
