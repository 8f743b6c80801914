"""Until when a thread waits for PostgreSQL.

One that is connected but frozen never answers, while its kernel says that it is alive: no timeout of TCP ends that.
Whoever must not wait for ever says `with until(deadline)`; what is on its way then fails, with its connection.
"""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.waiting import Ready

T = TypeVar("T")

_here = threading.local()


class Deadline:
    """Any thread may bring it forward, also while it is waited for."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self._at

    def bring_forward(self, seconds: float) -> None:
        """From now; later than it is has no effect."""
        self._at = min(self._at, time.monotonic() + seconds)


@contextmanager
def until(deadline: Deadline) -> Generator[None]:
    """What this thread asks PostgreSQL for within the block is answered by then, or raises OperationalError."""
    before = getattr(_here, "deadline", None)
    _here.deadline = deadline
    try:
        yield
    finally:
        _here.deadline = before


class Connection(psycopg.Connection[Any]):
    """What the pool makes of every connection; without a deadline, psycopg's own."""

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        """Each round trip of a statement, a COMMIT or the pool's check comes through here."""
        deadline = getattr(_here, "deadline", None)
        if deadline is None:
            return super().wait(gen, *args, **kwargs)
        try:
            return super().wait(_watched(gen, deadline), *args, **kwargs)
        except _Passed:
            self.pgconn.finish()  # its answer may come yet, and must not be taken for that of another statement
            raise


class _Passed(psycopg.OperationalError):
    pass


def _watched(gen: Generator[Any, Any, T], deadline: Deadline) -> Generator[Any, Any, T]:
    """psycopg comes by ten times a second while there is no answer."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready == Ready.NONE and deadline.passed:
                raise _Passed("the database does not answer")
            wanted = gen.send(ready)
    except StopIteration as done:
        result: T = done.value
        return result
