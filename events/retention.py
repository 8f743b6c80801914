"""What the log forgets: always from a session's oldest event on, so that what stays has no holes.

Kept are the events of unfinished streams and of those that ended within `EVENTS_RETENTION_SECONDS`, and everything
behind them. `EVENTS_LOG_MAX_EVENTS` goes before that time, but not before an unfinished stream. A viewer with an older
cursor gets a snapshot.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from events.conf import conf
from events.log_transaction import LogTransaction
from events.statements import key_of

LOGS_PER_PAGE = 200
EVENTS_PER_TRANSACTION = 500
_NEXT = "SELECT e.session_id FROM events_event e WHERE e.session_id > %s ORDER BY e.session_id LIMIT 1"


class StoredLog(NamedTuple):
    """A session's events `oldest` to `head`."""

    session_id: UUID
    oldest: int
    head: int


def stored_logs(after: UUID | None) -> list[StoredLog]:
    """At most `LOGS_PER_PAGE` of the logs that have events, in the order of their sessions' ids.

    Each session's first event leads to the next session: what it costs depends neither on how many events there are,
    nor on how many sessions have none any more.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE logs (session_id, number) AS (SELECT ({_NEXT}), 1 UNION ALL"  # noqa: S608
            f" SELECT ({_NEXT.replace('%s', 'logs.session_id')}), number + 1 FROM logs"
            " WHERE session_id IS NOT NULL AND number < %s)"
            " SELECT logs.session_id, (SELECT MIN(e.seq) FROM events_event e WHERE e.session_id = logs.session_id),"
            " COALESCE(h.seq, 0) FROM logs LEFT JOIN events_head h ON h.session_id = logs.session_id"
            " WHERE logs.session_id IS NOT NULL ORDER BY logs.session_id",
            [key_of(after or UUID(int=0)), LOGS_PER_PAGE],
        )
        return [StoredLog(UUID(str(row[0])), row[1], row[2]) for row in cursor.fetchall()]


def first_kept(log: StoredLog, unfinished: Collection[UUID], now: float) -> int:
    """The first seq that must stay. `now`: seconds since the epoch, as the events' times are."""
    aged = _first_of(log, unfinished, now - conf.retention_seconds)
    if log.head - log.oldest < conf.log_max_events:
        return aged
    bounded = min(log.head - conf.log_max_events + 1, _first_of(log, unfinished, None))
    return max(aged, bounded)


def delete_before(log: LogTransaction, session_id: UUID, seq: int) -> int:
    """At most `EVENTS_PER_TRANSACTION` of the session's events before `seq`, the oldest first; how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM events_event WHERE session_id = %s AND seq < %s AND seq <"
            " (SELECT MIN(seq) FROM events_event WHERE session_id = %s) + %s",
            [key_of(session_id), seq, key_of(session_id), EVENTS_PER_TRANSACTION],
        )
        return max(0, int(cursor.rowcount))


def delete_head(log: LogTransaction, session_id: UUID) -> None:
    """The last of a log whose session exists no more."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM events_head WHERE session_id = %s", [key_of(session_id)])


def _first_of(log: StoredLog, unfinished: Collection[UUID], since: float | None) -> int:
    """The first event of an unfinished stream, or of one (or of the session itself) that has an event `since` then."""
    conditions: list[str] = []
    parameters: list[Any] = [key_of(log.session_id)]
    if unfinished:
        conditions.append(f"stream_id IN ({', '.join(['%s'] * len(unfinished))})")
        parameters += [key_of(stream_id) for stream_id in unfinished]
    if since is not None:
        conditions.append(
            "created_at >= %s OR stream_id IN"
            " (SELECT stream_id FROM events_event WHERE session_id = %s AND created_at >= %s)"
        )
        parameters += [since, key_of(log.session_id), since]
    if not conditions:
        return log.head + 1
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT MIN(seq) FROM events_event WHERE session_id = %s AND ({' OR '.join(conditions)})",  # noqa: S608
            parameters,
        )
        found: Sequence[int | None] = cursor.fetchone()
    return log.head + 1 if found[0] is None else found[0]
