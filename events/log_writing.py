"""One commit of the event log, and its checkpoints: what runs on the log's own threads, each with its own connection.

Locks are waited for shortly. The long waiting is `EventLog`'s: it can give up, and others need not wait with it.
"""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from events.commit_outcome import OutcomeUnknown
from events.core.event import Event
from events.exceptions import StorageUnavailable
from events.log_transaction import Along, Append, LogTransaction
from events.statements import fetch, on_postgresql

logger = structlog.get_logger(__name__)

Committed = list[tuple[UUID, Event]]
PASSING = (OperationalError, InterfaceError)  # locked, full, away: worth another try
LOCK_WAIT_MILLISECONDS = 500
# PostgreSQL takes the locks from a process that fell asleep within a transaction, before others take it for dead (6 s)
# and must write what it has locked.
STUCK_MILLISECONDS = 4_000
_CAUGHT = "A unit of work has caught an error of the database's; it needs a transaction.atomic() around what may fail."


class Job:
    """One append, or one unit of work, and who wants to know until when (loop's clock) what has become of it.

    `on_end` is called once, on the loop: with the result, or with the error.
    """

    __slots__ = (
        *("along", "append", "deadline", "error", "gives_way", "on_doubt", "on_end", "over", "result", "told", "work"),
    )

    def __init__(
        self,
        deadline: float,
        on_end: Callable[[Any, Exception | None], None],
        on_doubt: Callable[[], None] | None = None,
        append: Append | None = None,
        along: Along | None = None,  # with the append
        work: Callable[[LogTransaction], Any] | None = None,
        *,
        gives_way: bool = False,  # to all others that wait
    ) -> None:
        self.deadline, self.on_end, self.on_doubt = deadline, on_end, on_doubt
        self.append, self.along, self.work, self.gives_way = append, along, work, gives_way
        self.result: Any = None
        self.error: Exception | None = None
        self.over = False  # refused for good: not to be tried any more
        self.told = False

    def end(self, result: Any, error: Exception | None = None) -> None:
        if self.told:
            return
        self.told = True
        try:
            self.on_end(result, error)
        except Exception:  # it is one's own misfortune, not that of the others in the commit
            logger.exception("event_log_answer_failed")

    def refuse(self, error: Exception) -> None:
        self.over = True
        self.end(None, error)

    def doubt(self) -> None:
        """It is late, and not known whether this is written; who does not want to wait for that is told so."""
        on_doubt, self.on_doubt = self.on_doubt, _nobody
        if on_doubt is not None:
            on_doubt()
        else:
            self.end(None, StorageUnavailable())


def _nobody() -> None:
    pass


def commit(jobs: Sequence[Job], *, apart: bool = False) -> Committed:
    """All jobs in one transaction. A session's jobs keep their order. Raises OutcomeUnknown too.

    A unit of work that refuses is undone alone. That takes a savepoint for each of them (`apart`), which is a quarter
    of what an accepted prompt costs SQLite, and few refuse: else, if one does, all is done again, with savepoints.
    """
    with suppress(_Refused):
        return _commit(jobs, apart=apart)
    return [] if len(jobs) == 1 else _commit(jobs, apart=True)


class _Refused(Exception):
    """A unit of work that is not apart has taken the whole transaction with it."""


def _commit(jobs: Sequence[Job], *, apart: bool) -> Committed:
    _open()
    asked = None
    try:
        with transaction.atomic():
            # SQLite's COMMIT has happened or it has not: nobody stands between.
            transaction_id = prepare_transaction() if on_postgresql() else None
            committed = _do(jobs, apart=apart)
            asked = transaction_id  # from here on
    except (DatabaseError, InterfaceError) as error:
        connection.close()  # the next attempt opens a fresh one
        if asked is not None and isinstance(error, PASSING):  # anything else is an answer
            raise OutcomeUnknown(asked, committed) from error
        raise
    return committed


def prepare_transaction() -> str:
    """PostgreSQL's only: what this transaction waits for at most; not this connection, which goes back to a pool.

    The transaction's id, which `has_committed` knows it by; it has one even if it writes nothing.
    """
    # Two that wait for each other give up one after the other: the second one then has what it waits for.
    lock_wait_milliseconds = random.randint(LOCK_WAIT_MILLISECONDS // 2, LOCK_WAIT_MILLISECONDS)  # noqa: S311
    found = fetch(
        "SELECT pg_current_xact_id()::text, set_config('lock_timeout', %s, TRUE),"
        " set_config('idle_in_transaction_session_timeout', %s, TRUE)",
        [str(lock_wait_milliseconds), str(STUCK_MILLISECONDS)],
    )
    return str(found[0][0])


def is_away(error: Exception) -> bool:
    """Whether nobody would fare better: there was no answer of PostgreSQL's at all."""
    cause: Any = error.__cause__
    return isinstance(error, PASSING) and hasattr(cause, "sqlstate") and cause.sqlstate is None


def _do(jobs: Sequence[Job], *, apart: bool) -> Committed:
    """Appends in as few statements as possible: gathered until a session comes again, or a unit of work."""
    log = LogTransaction()
    gathered: list[Job] = []
    sessions: set[int] = set()  # not the ids themselves: their hash is made in Python
    for job in jobs:
        if job.append is None or job.append.session_id.int in sessions:
            _append(log, gathered)
            gathered, sessions = [], set()
        if job.append is not None:
            sessions.add(job.append.session_id.int)
            gathered.append(job)
        else:
            _work(log, job, apart=apart)
    _append(log, gathered)
    return log.committed


def _append(log: LogTransaction, jobs: list[Job]) -> None:
    lasts = log.append_all([job.append for job in jobs if job.append is not None]) if jobs else []
    together: dict[Callable[..., object], list[Any]] = {}
    for job, last in zip(jobs, lasts, strict=True):
        job.result = last
        if last is not None and job.along is not None:
            together.setdefault(job.along.work, []).append(job.along.item)
    for work, items in together.items():
        work(log, items)


def _work(log: LogTransaction, job: Job, *, apart: bool) -> None:
    assert job.work is not None
    before = len(log.committed)
    try:
        with transaction.atomic() if apart else nullcontext():
            job.result, job.error = job.work(log), None
            if transaction.get_rollback():  # else Django would undo what is around it, without a word
                raise transaction.TransactionManagementError(_CAUGHT)
    except PASSING:
        raise
    except Exception as error:  # a refusal: its own waiter's business, not that of the others in this commit
        del log.committed[before:]
        job.result, job.error = None, error
        if not apart:
            raise _Refused from error


def checkpoint() -> int:
    """Brings what was committed into SQLite's database file; nobody waits for it. The frames (pages) of the WAL."""
    if on_postgresql():
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
    if not on_postgresql():
        with connection.cursor() as cursor:
            # A checkpoint inside a commit is its p99 (9–15 ms instead of 3): a thread of its own makes them.
            cursor.execute("PRAGMA wal_autocheckpoint = 0")
            cursor.execute(f"PRAGMA busy_timeout = {LOCK_WAIT_MILLISECONDS}")
