"""The event log: durable before visible, numbered without holes, fenced by turn (`docs/architecture.md`).

The futures of `append` and `transaction` are done when what they wrote would survive `kill -9` of this process. One
writer task takes what all streams have ready and commits it as one transaction on a thread of its own: the more there
is to write, the larger the commits. Nothing here touches Django's shared thread.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connection

from events.conf import conf
from events.deadline import Deadline
from events.exceptions import BusClosed, StorageUnavailable
from events.log_reading import Page, read_heads, read_page
from events.log_threads import LogThreads
from events.log_transaction import Along, Append, Entry, LogTransaction
from events.log_writer import LogWriter
from events.log_writing import PASSING, Committed, Job

T = TypeVar("T")

READERS = 4


class EventLog:
    """Belongs to one event loop. `announce` is called on it with what was committed, in order."""

    def __init__(self, announce: Callable[[Committed], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._writer = LogWriter(announce)
        self._readers = LogThreads(READERS, "event-log-reader")

    @property
    def holds_up_ends(self) -> bool:
        """Whether what gives way now has to wait for more than the next commit."""
        return self._writer.holds_up_ends

    def append(self, session_id: UUID, entries: Sequence[Entry], turn: int | None = None) -> asyncio.Future[int | None]:
        """The seq of the last entry, or None: refused, the turn is not the session's current one.

        Raises StorageUnavailable after `EVENTS_STORAGE_TIMEOUT_SECONDS`. Nothing of it is written then, unless it is
        being written at that moment.
        """
        future: asyncio.Future[int | None] = self._loop.create_future()
        self._writer.submit(Job(self._gives_up_at(), partial(_answer, future), None, Append(session_id, entries, turn)))
        return future

    def hand_in(
        self,
        append: Append,
        on_end: Callable[[int | None, Exception | None], None],
        on_doubt: Callable[[], None],
        along: Along | None = None,
    ) -> None:
        """As `append`, for who is called with the result, or the error, on the loop.

        Who is told StorageUnavailable would write it again; so `on_doubt` is called (once) instead, while that is not
        known: `on_end` when it is.
        """
        self._writer.submit(Job(self._gives_up_at(), on_end, on_doubt, append, along))

    def transaction(
        self,
        work: Callable[[LogTransaction], T],
        on_doubt: Callable[[], None] | None = None,
        *,
        gives_way: bool = False,
    ) -> asyncio.Future[T]:
        """Runs `work` on the writer thread in one transaction with whatever it appends; gives what it returned.

        `gives_way`: whatever else waits is written before it, so that many of its kind at once hold up nobody else.

        Anything it raises undoes it, and it alone, and is raised here; StorageUnavailable and
        `on_doubt` as in `hand_in`. It may run more than once.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        on_end = partial(_answer, future)
        self._writer.submit(Job(self._gives_up_at(), on_end, on_doubt, work=work, gives_way=gives_way))
        return future

    async def read(self, session_id: UUID, after: int) -> Page:
        """The events after a cursor."""
        return await self._read(read_page, session_id, after)

    async def heads(self, session_ids: Collection[UUID]) -> dict[UUID, int]:
        """The last seq of each of these sessions."""
        return await self._read(read_heads, session_ids)

    async def aclose(self) -> None:
        """Writes what waits, then closes threads and connections. Idempotent. A thread that is stuck is left behind."""
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(self._writer.aclose(), self._readers.aclose())

    # --- inside ---

    def _gives_up_at(self) -> float:
        return self._loop.time() + conf.storage_timeout_seconds

    async def _read(self, function: Callable[..., T], *arguments: Any) -> T:
        if self._closed:
            raise BusClosed
        seconds = conf.storage_timeout_seconds
        deadline = Deadline(seconds)
        try:
            async with asyncio.timeout(seconds):
                return await self._readers.run(deadline, _reading, deadline, function, arguments)
        except (DatabaseError, InterfaceError, TimeoutError) as error:
            raise StorageUnavailable from error


def _answer(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():  # its waiter was cancelled; what it wrote stays written
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _reading(deadline: Deadline, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    """Twice if need be: a connection that was cut is known to be only when it is used."""
    try:
        return function(*arguments)
    except PASSING:
        connection.close()
        if deadline.passed:
            raise
    try:
        return function(*arguments)
    except (DatabaseError, InterfaceError):
        connection.close()  # the next read opens a fresh one
        raise
