"""The event log: durable before visible, numbered without holes, fenced by turn (`docs/architecture.md`).

`append` and `transaction` return when what they wrote would survive `kill -9` of this process. One writer task takes
what all streams have ready and commits it as one transaction on a thread of its own: the more there is to write, the
larger the commits. Nothing here touches Django's shared thread.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from events.conf import conf
from events.core.event import Event
from events.exceptions import BusClosed, StorageUnavailable
from events.log_reading import Page, read_heads, read_page
from events.log_transaction import Append, Entry, LogTransaction

logger = structlog.get_logger(__name__)
T = TypeVar("T")
Work = Callable[[LogTransaction], Any]
Committed = list[tuple[UUID, Event]]

_READERS = 4
_JOBS_PER_COMMIT = 2_000  # bounds one transaction; at 1,000 streams a commit carries some hundred
_RETRY_SECONDS = 0.1
_PASSING = (OperationalError, InterfaceError)  # locked, full, away: worth another try
_CHECKPOINT_COMMITS = 500


@dataclass(slots=True, eq=False)
class _Job:
    """One append (`append`) or one unit of work (`work`), and who waits for it."""

    deadline: float
    future: asyncio.Future[Any]
    append: Append | None = None
    work: Work | None = None
    result: Any = None
    error: Exception | None = None


class EventLog:
    """Belongs to one event loop. `announce` is called on it with what was committed, in order."""

    def __init__(self, announce: Callable[[Committed], None]) -> None:
        self._announce = announce
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._commits = 0
        self._writer = ThreadPoolExecutor(1, "event-log-writer")
        self._readers = ThreadPoolExecutor(_READERS, "event-log-reader")
        self._checkpointer = ThreadPoolExecutor(1, "event-log-checkpoint")
        self._task = self._loop.create_task(self._write())

    async def append(self, session_id: UUID, entries: Sequence[Entry], turn: int | None = None) -> int | None:
        """The seq of the last entry, or None: refused, the turn is not the session's current one.

        Raises StorageUnavailable after `EVENTS_STORAGE_TIMEOUT_SECONDS`; then nothing of it was written.
        """
        last: int | None = await self._submit(append=Append(session_id, entries, turn))
        return last

    async def transaction(self, work: Callable[[LogTransaction], T]) -> T:
        """Runs `work` on the writer thread in one transaction with whatever it appends; gives what it returned.

        Anything it raises undoes it, and it alone, and is raised here. It may run more than once.
        """
        result: T = await self._submit(work=work)
        return result

    async def read(self, session_id: UUID, after: int) -> Page:
        """The events after a cursor."""
        return await self._read(read_page, session_id, after)

    async def heads(self, session_ids: Collection[UUID]) -> dict[UUID, int]:
        """The last seq of each of these sessions."""
        return await self._read(read_heads, session_ids)

    async def aclose(self) -> None:
        """Writes what waits, then closes threads and connections."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        await self._task
        for pool, threads in ((self._writer, 1), (self._readers, _READERS), (self._checkpointer, 1)):
            together = threading.Barrier(threads)  # so that each thread closes its own connection
            closing = (self._loop.run_in_executor(pool, _close_connection, together) for _ in range(threads))
            await asyncio.gather(*closing)
            pool.shutdown(wait=False)

    # --- on the loop ---

    def _submit(self, append: Append | None = None, work: Work | None = None) -> asyncio.Future[Any]:
        if self._closed:
            raise BusClosed
        future: asyncio.Future[Any] = self._loop.create_future()
        deadline = self._loop.time() + conf.storage_timeout_seconds
        self._waiting.append(_Job(deadline, future, append, work))
        self._wake.set()
        return future

    async def _read(self, function: Callable[..., T], *arguments: Any) -> T:
        if self._closed:
            raise BusClosed
        try:
            return await self._loop.run_in_executor(self._readers, _reading, function, arguments)
        except (DatabaseError, InterfaceError) as error:
            raise StorageUnavailable from error

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                jobs = [self._waiting.popleft() for _ in range(min(len(self._waiting), _JOBS_PER_COMMIT))]
                await self._commit(jobs)
            if self._closed:
                return

    async def _commit(self, jobs: list[_Job]) -> None:
        """Commits the jobs; taken apart if they fail together; tried again while the storage is away."""
        error = await self._attempt(jobs)
        if error is not None and len(jobs) > 1:
            for job in jobs:
                await self._commit([job])
            return
        while error is not None:
            [job] = jobs
            if not isinstance(error, _PASSING):
                _refuse(job, error)
                return
            if self._loop.time() >= job.deadline or self._closed:
                logger.error("event_log_unavailable", err=repr(error))
                _refuse(job, StorageUnavailable())
                return
            await asyncio.sleep(_RETRY_SECONDS)
            error = await self._attempt(jobs)

    async def _attempt(self, jobs: list[_Job]) -> Exception | None:
        try:
            committed = await self._loop.run_in_executor(self._writer, _run, jobs)
        except Exception as error:
            return error
        if committed:
            self._announce(committed)
        for job in jobs:
            if job.error is not None:
                _refuse(job, job.error)
            elif not job.future.done():  # else its waiter was cancelled; what it wrote stays written
                job.future.set_result(job.result)
        self._commits += 1
        if self._commits % _CHECKPOINT_COMMITS == 0:
            self._loop.run_in_executor(self._checkpointer, _checkpoint)
        return None


def _refuse(job: _Job, error: Exception) -> None:
    if not job.future.done():
        job.future.set_exception(error)


# --- on the threads ---


def _run(jobs: list[_Job]) -> Committed:
    """All jobs in one transaction. A session's jobs keep their order: the k-th of each session is in round k."""
    if connection.connection is None:
        _open_writer()
    try:
        return _run_in_transaction(jobs)
    except (DatabaseError, InterfaceError):
        connection.close()  # the next attempt opens a fresh one
        raise


def _run_in_transaction(jobs: list[_Job]) -> Committed:
    log = LogTransaction()
    with transaction.atomic():
        appends: list[_Job] = []
        sessions: set[UUID] = set()
        for job in jobs:
            if job.append is not None and job.append.session_id not in sessions:
                sessions.add(job.append.session_id)
                appends.append(job)
                continue
            _append(log, appends)
            appends, sessions = [], set()
            if job.append is not None:
                sessions.add(job.append.session_id)
                appends.append(job)
            else:
                _work(log, job)
        _append(log, appends)
    return log.committed


def _append(log: LogTransaction, jobs: list[_Job]) -> None:
    lasts = log.append_all([job.append for job in jobs if job.append is not None]) if jobs else []
    for job, last in zip(jobs, lasts, strict=True):
        job.result = last


def _work(log: LogTransaction, job: _Job) -> None:
    assert job.work is not None
    before = len(log.committed)
    try:
        with transaction.atomic():
            job.result, job.error = job.work(log), None
    except _PASSING:
        raise
    except Exception as error:  # a refusal: its own waiter's business, not that of the others in this commit
        del log.committed[before:]
        job.result, job.error = None, error


def _open_writer() -> None:
    connection.ensure_connection()
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            # A checkpoint inside a commit is its p99 (9–15 ms instead of 3): a thread of its own makes them.
            cursor.execute("PRAGMA wal_autocheckpoint = 0")


def _checkpoint() -> None:
    if connection.vendor != "sqlite":
        return
    started = time.monotonic()
    try:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except DatabaseError as error:
        logger.warning("checkpoint_failed", err=repr(error))
    else:
        logger.debug("checkpoint_done", seconds=round(time.monotonic() - started, 4))


def _reading(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    try:
        return function(*arguments)
    except (DatabaseError, InterfaceError):
        connection.close()  # the next read opens a fresh one
        raise


def _close_connection(together: threading.Barrier) -> None:
    together.wait(timeout=30)
    connection.close()
