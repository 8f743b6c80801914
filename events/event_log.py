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
from math import inf
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from events import metrics
from events.conf import conf
from events.exceptions import BusClosed, StorageUnavailable
from events.log_reading import Page, read_heads, read_page
from events.log_transaction import Append, Entry, LogTransaction
from events.log_writing import PASSING, Committed, Job, checkpoint, commit

logger = structlog.get_logger(__name__)
T = TypeVar("T")

READERS = 4
_JOBS_PER_COMMIT = 2_000  # bounds one transaction; at 1,000 streams a commit carries some hundred
_RETRY_SECONDS = 0.1
_APART_SECONDS = 1.0  # for trying one by one what failed together; locks are waited for, so that may take long
_CLOSE_SECONDS = 2.0  # how long a storage that is away may delay the close
_CHECKPOINT_CHANGES = 1_000  # commits and events; one event changes about three frames (pages) of SQLite's WAL
_WAL_FRAMES = 8_000  # 32 MiB


class EventLog:
    """Belongs to one event loop. `announce` is called on it with what was committed, in order."""

    def __init__(self, announce: Callable[[Committed], None]) -> None:
        self._announce = announce
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Job] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._gives_up_at = inf
        self._changes = 0  # since the last checkpoint
        self._checkpointing: asyncio.Task[None] | None = None
        self._writer = ThreadPoolExecutor(1, "event-log-writer")
        self._readers = ThreadPoolExecutor(READERS, "event-log-reader")
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
        """Writes what waits, then closes threads and connections. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._gives_up_at = self._loop.time() + _CLOSE_SECONDS
        self._wake.set()
        await self._task
        if self._checkpointing is not None:
            await self._checkpointing
        for pool, threads in ((self._writer, 1), (self._readers, READERS), (self._checkpointer, 1)):
            together = threading.Barrier(threads)  # so that each thread closes its own connection
            closing = (self._loop.run_in_executor(pool, _close_connection, together) for _ in range(threads))
            await asyncio.gather(*closing)
            pool.shutdown(wait=False)

    # --- on the loop ---

    def _submit(
        self, append: Append | None = None, work: Callable[[LogTransaction], Any] | None = None
    ) -> asyncio.Future[Any]:
        if self._closed:
            raise BusClosed
        future: asyncio.Future[Any] = self._loop.create_future()
        deadline = self._loop.time() + conf.storage_timeout_seconds
        self._waiting.append(Job(deadline, future, append, work))
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
        while not (self._closed and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            left: list[Job] = []
            while left or self._waiting:
                more = min(len(self._waiting), _JOBS_PER_COMMIT)
                left = await self._commit(left + [self._waiting.popleft() for _ in range(more)])
                if left:
                    await asyncio.sleep(_RETRY_SECONDS)

    async def _commit(self, jobs: list[Job]) -> list[Job]:
        """Commits the jobs; one by one if they fail together. Gives those that are worth another try, in order."""
        error = await self._attempt(jobs)
        if error is None:
            return []
        if len(jobs) == 1:
            return [] if self._gives_up(jobs[0], error) else jobs
        not_tried = error if isinstance(error, PASSING) else OperationalError("not tried yet")
        until = self._loop.time() + _APART_SECONDS
        left: list[Job] = []
        held: set[UUID] = set()  # sessions whose next event must not overtake one that is left
        for job in jobs:
            session_id = None if job.append is None else job.append.session_id
            tries = session_id not in held and self._loop.time() < until
            error = await self._attempt([job]) if tries else not_tried
            if error is not None and not self._gives_up(job, error):
                left.append(job)
                if session_id is not None:
                    held.add(session_id)
        return left

    def _gives_up(self, job: Job, error: Exception) -> bool:
        """Refuses what another try would not help, and what has waited long enough."""
        if not isinstance(error, PASSING):
            job.refuse(error)
            return True
        if self._loop.time() < min(job.deadline, self._gives_up_at):
            return False
        logger.error("event_log_unavailable", err=repr(error))
        job.refuse(StorageUnavailable())
        return True

    async def _attempt(self, jobs: list[Job]) -> Exception | None:
        try:
            committed = await self._loop.run_in_executor(self._writer, _timed_commit, jobs)
        except Exception as error:
            metrics.commit_failures.add()
            return error
        metrics.events.add(len(committed))
        if committed:
            self._announce(committed)
        for job in jobs:
            if job.error is not None:
                job.refuse(job.error)
            elif not job.future.done():  # else its waiter was cancelled; what it wrote stays written
                job.future.set_result(job.result)
        self._changes += 1 + len(committed)
        if self._changes >= _CHECKPOINT_CHANGES and self._checkpointing is None:
            self._changes = 0
            self._checkpointing = self._loop.create_task(self._checkpoint())
        return None

    async def _checkpoint(self) -> None:
        """Commits go on meanwhile, but SQLite begins its WAL anew only after a checkpoint that left nothing. So once
        it has grown large, what is left, which is little, follows between two commits.
        """
        if await self._loop.run_in_executor(self._checkpointer, checkpoint) > _WAL_FRAMES:
            await self._loop.run_in_executor(self._writer, checkpoint)
        self._checkpointing = None


# --- on the threads ---


def _timed_commit(jobs: list[Job]) -> Committed:
    started = time.perf_counter()
    try:
        return commit(jobs)
    finally:
        metrics.commit_seconds.observe(time.perf_counter() - started)


def _reading(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    """Twice if need be: a connection that was cut is known to be only when it is used."""
    try:
        return function(*arguments)
    except PASSING:
        connection.close()
    try:
        return function(*arguments)
    except (DatabaseError, InterfaceError):
        connection.close()  # the next read opens a fresh one
        raise


def _close_connection(together: threading.Barrier) -> None:
    together.wait(timeout=30)
    connection.close()
