"""One commit of the event log, and its checkpoints: what runs on the log's own threads, each with its own connection.

Locks are waited for shortly. The long waiting is `EventLog`'s: it can give up, and others need not wait with it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from events.core.event import Event
from events.log_transaction import Append, LogTransaction

logger = structlog.get_logger(__name__)

Committed = list[tuple[UUID, Event]]
PASSING = (OperationalError, InterfaceError)  # locked, full, away: worth another try
LOCK_WAIT_MILLISECONDS = 500
# PostgreSQL takes the locks from a process that fell asleep within a transaction, before others take it for dead (6 s)
# and must write what it has locked.
STUCK_MILLISECONDS = 4_000
OUTCOME_SECONDS = 10.0  # for the database to come back and say what became of a commit


@dataclass(slots=True, eq=False)
class Job:
    """One append (`append`) or one unit of work (`work`), and who waits for it until when (on the loop's clock)."""

    deadline: float
    future: asyncio.Future[Any]
    append: Append | None = None
    work: Callable[[LogTransaction], Any] | None = None
    result: Any = None
    error: Exception | None = None

    def refuse(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


def commit(jobs: Sequence[Job]) -> Committed:
    """All jobs in one transaction. A session's jobs keep their order."""
    _open()
    transaction_id = None
    try:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:  # LOCAL: the connection goes back to a pool
                    cursor.execute(
                        f"SET LOCAL lock_timeout = {LOCK_WAIT_MILLISECONDS};"
                        f"SET LOCAL idle_in_transaction_session_timeout = {STUCK_MILLISECONDS}"
                    )
            committed = _do(jobs)
            transaction_id = _transaction_id()
    except (DatabaseError, InterfaceError):
        connection.close()  # the next attempt opens a fresh one
        if transaction_id is None or not _has_committed(transaction_id):
            raise
    return committed


def _transaction_id() -> str | None:
    if connection.vendor != "postgresql":
        return None  # SQLite's COMMIT has happened or it has not: nobody stands between
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id_if_assigned()::text")
        found: str | None = cursor.fetchone()[0]
        return found


def _has_committed(transaction_id: str) -> bool:
    """What became of a COMMIT whose answer was lost with its connection. Once more would write everything twice."""
    until = time.monotonic() + OUTCOME_SECONDS
    wrapper: Any = connection
    database = wrapper.Database
    while True:
        try:  # past the pool, which pauses longer and longer between its attempts
            with database.connect(**wrapper.get_connection_params()) as fresh:
                status = fresh.execute("SELECT pg_xact_status(%s::xid8)", [transaction_id]).fetchone()[0]
            if status != "in progress":
                logger.info("commit_outcome", status=status)
                return bool(status == "committed")
        except database.Error as error:
            logger.debug("commit_outcome_asked", err=repr(error))
        if time.monotonic() > until:
            logger.error("commit_outcome_unknown")
            return False
        time.sleep(0.1)


def _do(jobs: Sequence[Job]) -> Committed:
    """Appends in as few statements as possible: gathered until a session comes again, or a unit of work."""
    log = LogTransaction()
    gathered: list[Job] = []
    sessions: set[UUID] = set()
    for job in jobs:
        if job.append is None or job.append.session_id in sessions:
            _append(log, gathered)
            gathered, sessions = [], set()
        if job.append is not None:
            sessions.add(job.append.session_id)
            gathered.append(job)
        else:
            _work(log, job)
    _append(log, gathered)
    return log.committed


def _append(log: LogTransaction, jobs: list[Job]) -> None:
    lasts = log.append_all([job.append for job in jobs if job.append is not None]) if jobs else []
    for job, last in zip(jobs, lasts, strict=True):
        job.result = last


def _work(log: LogTransaction, job: Job) -> None:
    assert job.work is not None
    before = len(log.committed)
    try:
        with transaction.atomic():
            job.result, job.error = job.work(log), None
    except PASSING:
        raise
    except Exception as error:  # a refusal: its own waiter's business, not that of the others in this commit
        del log.committed[before:]
        job.result, job.error = None, error


def checkpoint() -> int:
    """Brings what was committed into SQLite's database file; nobody waits for it. The frames (pages) of the WAL."""
    if connection.vendor != "sqlite":
        return 0
    started = time.monotonic()
    try:
        _open()
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
            frames = int(cursor.fetchone()[1])
    except DatabaseError as error:
        connection.close()
        logger.warning("checkpoint_failed", err=repr(error))
        return 0
    logger.debug("checkpoint_done", frames=frames, seconds=round(time.monotonic() - started, 4))
    return frames


def _open() -> None:
    if connection.connection is not None:
        return
    connection.ensure_connection()
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            # A checkpoint inside a commit is its p99 (9–15 ms instead of 3): a thread of its own makes them.
            cursor.execute("PRAGMA wal_autocheckpoint = 0")
            cursor.execute(f"PRAGMA busy_timeout = {LOCK_WAIT_MILLISECONDS}")
