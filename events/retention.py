"""What the log forgets: always from a session's oldest event on, so that what stays has no holes.

Kept are the events of unfinished streams and of those that ended within `EVENTS_RETENTION_SECONDS`, and everything
behind them. `EVENTS_LOG_MAX_EVENTS` goes before that time, but not before an unfinished stream. A viewer with an older
cursor gets a snapshot.
"""

from collections.abc import Collection
from typing import Any, NamedTuple
from uuid import UUID

from events.chain import chain, shorten
from events.conf import conf
from events.log_transaction import LogTransaction
from events.statements import fetch, id_of, key_of, on_postgresql, run

LOGS_PER_PAGE = 200
EVENTS_PER_TRANSACTION = 500
_NEXT = "SELECT e.session_id FROM events_event e WHERE e.session_id > %s ORDER BY e.session_id LIMIT 1"


class StoredLog(NamedTuple):
    """A session's events `oldest` to `head`; `since` is the time of the oldest, in seconds since the epoch."""

    session_id: UUID
    oldest: int
    head: int
    since: float


def stored_logs(after: UUID | None) -> list[StoredLog]:
    """At most `LOGS_PER_PAGE` of the logs that have events, in the order of their sessions' ids.

    What it costs depends neither on how many events there are, nor on how many sessions have none any more: SQLite has
    an index of the logs, and on PostgreSQL each session's first event leads to the next session.
    """
    query = (
        "SELECT h.session_id, e.seq, h.seq, e.created_at FROM events_head AS h"
        " JOIN events_event AS e ON e.id = h.first_row WHERE h.first_row IS NOT NULL AND h.session_id > %s"
        " ORDER BY h.session_id LIMIT %s"
    )
    if on_postgresql():
        query = (
            f"WITH RECURSIVE logs (session_id, number) AS (SELECT ({_NEXT}), 1 UNION ALL"  # noqa: S608
            f" SELECT ({_NEXT.replace('%s', 'logs.session_id')}), number + 1 FROM logs"
            " WHERE session_id IS NOT NULL AND number < %s)"
            " SELECT logs.session_id, e.seq, COALESCE(h.seq, 0), e.created_at"
            " FROM logs CROSS JOIN LATERAL (SELECT seq, created_at FROM events_event"
            "  WHERE session_id = logs.session_id ORDER BY seq LIMIT 1) AS e"
            " LEFT JOIN events_head h ON h.session_id = logs.session_id ORDER BY logs.session_id"
        )
    rows = fetch(query, [key_of(after or UUID(int=0)), LOGS_PER_PAGE])
    return [StoredLog(id_of(key), oldest, head, since) for key, oldest, head, since in rows]


def first_kept(log: StoredLog, unfinished: Collection[UUID], now: float) -> int:
    """The first seq that must stay. `now`: seconds since the epoch, as the events' times are."""
    aged = _first_of(log, unfinished, now - conf.retention_seconds)
    if log.head - log.oldest < conf.log_max_events:
        return aged
    bounded = min(log.head - conf.log_max_events + 1, _first_of(log, unfinished, None))
    return max(aged, bounded)


def delete_before(log: LogTransaction, session_id: UUID, seq: int) -> int:
    """At most `EVENTS_PER_TRANSACTION` of the session's events before `seq`, the oldest first; how many."""
    if not on_postgresql():
        return shorten(session_id.hex, seq, EVENTS_PER_TRANSACTION)
    return run(
        "DELETE FROM events_event WHERE session_id = %s AND seq < %s AND seq <"
        " (SELECT MIN(seq) FROM events_event WHERE session_id = %s) + %s",
        [session_id, seq, session_id, EVENTS_PER_TRANSACTION],
    )


def delete_head(log: LogTransaction, session_id: UUID) -> None:
    """The last of a log whose session exists no more; on SQLite not before its events, which nothing else leads to."""
    and_empty = "" if on_postgresql() else " AND last_row IS NULL"
    run(f"DELETE FROM events_head WHERE session_id = %s{and_empty}", [key_of(session_id)])  # noqa: S608


def _first_of(log: StoredLog, unfinished: Collection[UUID], since: float | None) -> int:
    """The first event of an unfinished stream, or of one (or of the session itself) that has an event `since` then."""
    if since is not None and log.since >= since:
        return log.oldest
    key = key_of(log.session_id)
    parameters: list[Any] = [key]
    first, of_session = "WITH", "SELECT * FROM events_event WHERE session_id = %s"
    if not on_postgresql():
        first, parameters = chain(log.session_id.hex)
        first, of_session = f"{first},", "SELECT e.* FROM chain JOIN events_event AS e USING (id)"
    conditions: list[str] = []
    if unfinished:
        conditions.append(f"stream_id IN ({', '.join(['%s'] * len(unfinished))})")
        parameters += [key_of(stream_id) for stream_id in unfinished]
    if since is not None:
        conditions.append("created_at >= %s OR stream_id IN (SELECT stream_id FROM log WHERE created_at >= %s)")
        parameters += [since, since]
    if not conditions:
        return log.head + 1
    found = fetch(
        f"{first} log AS ({of_session}) SELECT MIN(seq) FROM log WHERE {' OR '.join(conditions)}",  # noqa: S608
        parameters,
    )
    return log.head + 1 if found[0][0] is None else int(found[0][0])
