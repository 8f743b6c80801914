"""How SQLite holds the events of a log: each event with the row of the one before it, and the head with the last.

With an index by session each commit writes a page for every stream, since each session's newest entry is in a page of
its own: measured with 100 streams, 1.24 pages an event, and 13 us of CPU for its statements. A table that only grows at
its end takes 0.12 pages and 4 us. Who reads a log goes back from its head, about a microsecond an event. PostgreSQL,
which writes its pages at leisure, has the index (docs/decisions/0011).

An event is one of the chain only if session and `seq` say so too: rows that were deleted leave a chain that ends there.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from events.all_rows import all_rows, values
from events.statements import fetch, run

Move = tuple[str, int | None, int]  # a session (hex), the turn that its log must have, by how many events it grows


class Head(NamedTuple):
    """Where a log has come to. SQLite: the row of the first of its new events, and of the one before (0: none)."""

    seq: int
    row: int = 0
    before: int = 0


def chain(key: str, after: int = 0) -> tuple[str, list[Any]]:
    """A WITH clause, and its parameters: `chain (id, before, seq)`, the rows of a session's events after a `seq`."""
    statement = (
        "WITH RECURSIVE chain (id, before, seq) AS ("
        " SELECT e.id, e.before, e.seq FROM events_head AS h JOIN events_event AS e ON e.id = h.last_row"
        " WHERE h.session_id = %s AND e.session_id = h.session_id AND e.seq = h.seq AND e.seq > %s"
        " UNION ALL SELECT e.id, e.before, e.seq FROM chain JOIN events_event AS e ON e.id = chain.before"
        " WHERE e.session_id = %s AND e.seq = chain.seq - 1 AND e.seq > %s)"
    )
    return statement, [key, after, key, after]


def advance(moves: Sequence[Move]) -> Iterable[tuple[str, Head]]:
    """Moves the heads whose turn fits, to make room for so many rows; gives those sessions' keys and new heads.

    It is one transaction, and SQLite has one writer: nobody comes between what is read and what is written.
    """
    marks, parameters = values([(place, key, turn) for place, (key, turn, _) in enumerate(moves)])
    found = fetch(
        f"WITH v (place, session_id, turn) AS (VALUES {marks})"  # noqa: S608
        " SELECT json_array((SELECT COALESCE(MAX(id), 0) FROM events_event),"
        " json_group_array(json_array(v.place, h.rowid, h.seq, h.last_row)))"
        " FROM events_head AS h JOIN v ON h.session_id = v.session_id"
        " AND (v.turn IS NULL OR (h.open AND h.turn = v.turn))",
        parameters,
    )
    last_row, fitting = json.loads(found[0][0])
    heads: list[tuple[str, Head]] = []
    grown: list[tuple[int, int, int]] = []
    begun: list[tuple[int, int]] = []
    for place, head, seq, before in fitting:
        key, _, count = moves[place]
        heads.append((key, Head(seq + count, last_row + 1, before or 0)))
        if count and not before:
            begun.append((head, last_row + 1))
        if count:
            last_row += count
            grown.append((head, seq + count, last_row))
    if grown:
        _set("seq, last_row", grown)
    if begun:
        _set("first_row", begun)
    return heads


def _set(columns: str, rows: Sequence[Sequence[int]]) -> None:
    """Of heads, by their rows. `first_row` is never set in passing: an index has the logs that have one."""
    marks, parameters = values(rows)
    assignments = ", ".join(f"{column} = v.{column}" for column in columns.split(", "))
    run(
        f"WITH v (head, {columns}) AS (VALUES {marks}) UPDATE events_head AS h SET {assignments}"  # noqa: S608
        " FROM v WHERE h.rowid = v.head",
        parameters,
    )


def shorten(key: str, before: int, most: int) -> int:
    """Deletes at most so many of a session's events before a `seq`, the oldest first; how many."""
    found = fetch(
        "SELECT e.seq FROM events_head AS h JOIN events_event AS e ON e.id = h.first_row WHERE h.session_id = %s", [key]
    )
    if not found or before <= found[0][0]:
        return 0
    end = min(before, found[0][0] + most)
    links, parameters = chain(key)
    rows = all_rows("seq, id", "FROM chain WHERE seq <= %s", [*parameters, end], first=links)
    gone = [row for seq, row in rows if seq < end]
    kept = [row for seq, row in rows if seq == end]
    if not gone:
        return 0
    run("DELETE FROM events_event WHERE id IN (SELECT value FROM json_each(%s))", [json.dumps(gone)])
    if kept:
        run("UPDATE events_head SET first_row = %s WHERE session_id = %s", [kept[0], key])
    else:
        run("UPDATE events_head SET first_row = NULL, last_row = NULL WHERE session_id = %s", [key])
    return len(gone)
