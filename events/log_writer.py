"""The one writer of an event log: commits what all streams have ready, tries again what may succeed, gives up in time.

What a commit has become of must be known before anything else is written (`commit_outcome.py`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, TypeVar, cast
from uuid import UUID

import structlog
from django.db import OperationalError

from events import metrics
from events.commit_outcome import OutcomeUnknown, has_committed
from events.conf import conf
from events.deadline import Deadline
from events.exceptions import BusClosed, StorageUnavailable
from events.log_threads import CLOSE_SECONDS, LogThreads
from events.log_writing import PASSING, Committed, Job, checkpoint, commit, is_away

logger = structlog.get_logger(__name__)
T = TypeVar("T")

_JOBS_PER_COMMIT = 2_000  # bounds one transaction; at 1,000 streams a commit carries some hundred
# A prompt or an end takes some 2 ms, and whoever streams waits meanwhile. But who waits must not wait for long either:
# of many, one in thirty-two, and one in eight once the first has used up a quarter of its time.
_GIVING_WAY_PER_COMMIT, _GIVING_WAY_SHARES, _HURRIED_SHARES, _HURRY_SHARE = 4, 32, 8, 0.75
_RETRY_SECONDS = 0.1
_APART_AFTER_REFUSAL_SECONDS = 1.0  # where one unit of work refuses, others may: each of them would have all done twice
_APART_SECONDS = 1.0  # for trying one by one what failed together; locks are waited for, so that may take long
_LEAST_SECONDS = 1.0  # for an attempt to write, however late it comes
_DOUBT_SECONDS = 1.0  # for an attempt that is on its way to end: then it is known whether that is written
_LOOK_SECONDS = 0.5  # who is late is told so much later at most; each look wakes a process that may be idle
_ASK_SECONDS = 5.0  # for the database to say what became of a commit; connecting may take three of them
_CHECKPOINT_CHANGES = 1_000  # commits and events; one event changes about three frames (pages) of SQLite's WAL
_WAL_FRAMES = 8_000  # 32 MiB


class LogWriter:
    """Belongs to one event loop. `announce` is called on it with what was committed, in order."""

    def __init__(self, announce: Callable[[Committed], None]) -> None:
        self._announce = announce
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Job] = deque()
        self._giving_way: deque[Job] = deque()
        self._in_hand: list[Job] = []
        self._in_flight: list[Job] = []  # of those: it is not known whether they are written
        self._wake = asyncio.Event()
        self._writes = asyncio.Event()  # something waits, or is in hand
        self._closed = False
        self._gives_up_at = inf
        self._deadline = Deadline(inf)
        self._away: Exception | None = None  # why the last attempt had no answer
        self._apart_until = -inf
        self._changes = 0  # since the last checkpoint
        self._checkpointing: asyncio.Task[None] | None = None
        self._writer = LogThreads(1, "event-log-writer")
        self._checkpointer = LogThreads(1, "event-log-checkpoint")
        self._task = self._loop.create_task(self._write())
        self._watch = self._loop.create_task(self._tell_the_late())

    @property
    def holds_up_ends(self) -> bool:
        """Whether what gives way now has to wait for more than the next commit."""
        return len(self._giving_way) >= _GIVING_WAY_PER_COMMIT

    def submit(self, job: Job) -> None:
        """Written in the order of submission; what gives way, behind all else and few at a time. Raises BusClosed."""
        if self._closed:
            raise BusClosed
        (self._giving_way if job.gives_way else self._waiting).append(job)
        self._wake.set()

    async def aclose(self) -> None:
        """Writes what waits. Once only."""
        self._closed = True
        self._gives_up_at = self._loop.time() + CLOSE_SECONDS
        self._deadline.bring_forward(CLOSE_SECONDS)
        self._wake.set()
        await self._task
        self._watch.cancel()
        if self._checkpointing is not None:
            await asyncio.wait([self._checkpointing], timeout=CLOSE_SECONDS)
        await asyncio.gather(self._writer.aclose(), self._checkpointer.aclose())

    async def _write(self) -> None:
        while not self._closed or self._waiting or self._giving_way:
            await self._wake.wait()
            self._wake.clear()
            self._writes.set()
            left: list[Job] = []
            while left or self._waiting or self._giving_way:
                jobs = [
                    *left,
                    *_taken(self._waiting, _JOBS_PER_COMMIT),
                    *_taken(self._giving_way, self._few()),
                ]
                left = self._in_hand = await self._commit([job for job in jobs if not job.over])
                if left:
                    await asyncio.sleep(_RETRY_SECONDS)
            self._writes.clear()

    def _few(self) -> int:
        """How many of those that give way are in the next commit."""
        waiting = self._giving_way
        is_long = (
            bool(waiting) and waiting[0].deadline - self._loop.time() < _HURRY_SHARE * conf.storage_timeout_seconds
        )
        return max(_GIVING_WAY_PER_COMMIT, len(waiting) // (_HURRIED_SHARES if is_long else _GIVING_WAY_SHARES))

    async def _commit(self, jobs: list[Job]) -> list[Job]:
        """Commits the jobs; one by one if they fail together. Gives those that are worth another try, in order."""
        self._in_hand = jobs
        error = self._away if self._loop.time() >= self._gives_up_at else None
        error = error or await self._attempt(jobs)
        self._away = error if error is not None and is_away(error) else None
        if error is None:
            return []
        if len(jobs) == 1 or is_away(error):
            return [job for job in jobs if not self._gives_up(job, error)]
        not_tried = error if isinstance(error, PASSING) else OperationalError("not tried yet")
        until = self._loop.time() + _APART_SECONDS
        left: list[Job] = []
        held: set[UUID] = set()  # sessions whose next event must not overtake one that is left
        for job in jobs:
            if job.over:
                continue
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
        if not self._is_late(job):
            return False
        logger.error("event_log_unavailable", err=repr(error))
        job.refuse(StorageUnavailable())
        return True

    def _is_late(self, job: Job, seconds: float = 0.0) -> bool:
        return self._loop.time() >= min(job.deadline, self._gives_up_at) + seconds

    async def _attempt(self, jobs: list[Job]) -> Exception | None:
        if not jobs:
            return None
        self._in_flight = jobs
        try:
            return await self._attempt_in_flight(jobs)
        finally:
            self._in_flight = []

    async def _attempt_in_flight(self, jobs: list[Job]) -> Exception | None:
        left = min(min(job.deadline for job in jobs), self._gives_up_at) - self._loop.time()
        unknown: OutcomeUnknown | None = None
        committed: Committed = []
        try:
            committed = await self._on_writer(left, _timed_commit, jobs, self._loop.time() < self._apart_until)
        except OutcomeUnknown as error:
            metrics.commit_failures.add()
            unknown = error
        except Exception as error:
            metrics.commit_failures.add()
            logger.debug("commit_failed", err=repr(error))
            return error
        if unknown is not None:
            if not await self._has_committed(unknown.transaction_id):
                return cast(Exception, unknown.__cause__)
            committed = unknown.committed
        metrics.events.add(len(committed))
        if committed:
            self._announce(committed)
        for job in jobs:
            if job.error is not None:
                job.refuse(job.error)
                self._apart_until = self._loop.time() + _APART_AFTER_REFUSAL_SECONDS
            else:
                job.end(job.result)
        self._changes += 1 + len(committed)
        if self._changes >= _CHECKPOINT_CHANGES and self._checkpointing is None:
            self._changes = 0
            self._checkpointing = self._loop.create_task(self._checkpoint())
        return None

    async def _on_writer(self, seconds: float, function: Callable[..., T], *arguments: Any) -> T:
        self._deadline = Deadline(max(seconds, _LEAST_SECONDS))
        return await self._writer.run(self._deadline, function, *arguments)

    async def _has_committed(self, transaction_id: str) -> bool:
        """As long as that is not known nothing is written: who is told meanwhile that it is late might write it twice.

        False too if this process ends before; then it writes nothing any more.
        """
        asked = False
        while True:
            try:
                committed = await self._on_writer(_ASK_SECONDS, has_committed, transaction_id)
            except Exception:
                logger.exception("commit_outcome_failed")
                committed = None
            if committed is not None:
                return committed
            if not asked:
                asked = True
                logger.error("commit_outcome_unknown", transaction=transaction_id)
            if self._loop.time() >= self._gives_up_at:
                return False
            await asyncio.sleep(_RETRY_SECONDS)

    async def _tell_the_late(self) -> None:
        """Whoever has waited long enough is told so, whatever the writer waits for."""
        while True:
            await self._writes.wait()
            await asyncio.sleep(_LOOK_SECONDS)
            in_flight = set(self._in_flight)
            all_jobs = (*self._in_hand, *self._waiting, *self._giving_way)
            late = [job for job in all_jobs if not job.over and self._is_late(job)]
            for job in late:
                try:
                    if job in in_flight:
                        if self._is_late(job, _DOUBT_SECONDS):
                            job.doubt()
                    elif not job.told:
                        logger.error("event_log_unavailable", err="not tried in time")
                        job.refuse(StorageUnavailable())
                except Exception:
                    logger.exception("event_log_doubt_failed")

    async def _checkpoint(self) -> None:
        """Commits go on meanwhile, but SQLite begins its WAL anew only after a checkpoint that left nothing. So once
        it has grown large, what is left, which is little, follows between two commits.
        """
        try:
            if await self._checkpointer.run(Deadline(inf), checkpoint) > _WAL_FRAMES:
                await self._writer.run(Deadline(inf), checkpoint)
        except Exception:
            logger.exception("checkpoint_failed")
        finally:
            self._checkpointing = None


def _taken(jobs: deque[Job], most: int) -> list[Job]:
    return [jobs.popleft() for _ in range(min(len(jobs), most))]


def _timed_commit(jobs: list[Job], apart: bool) -> Committed:
    started = time.perf_counter()
    try:
        return commit(jobs, apart=apart)
    finally:
        metrics.commit_seconds.observe(time.perf_counter() - started)
