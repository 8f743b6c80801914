"""One transaction of the event log: fences, numbers and stores events, in raw SQL. Runs on the log's writer thread.

Whoever appends tells the turn it writes for; the database compares it with the session's own in the statement that
numbers the events, so a writer that has been overtaken is refused by a row count, whatever it believes.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from events.all_rows import ROWS_PER_STATEMENT, all_rows, records, values
from events.chain import Head, Move, advance, chain
from events.core.event import Event
from events.statements import fetch, on_postgresql, run

_SESSIONS_PER_STATEMENT = 3_000


class Entry(NamedTuple):
    """An event that has no `seq` yet. `data` is compact JSON (`events.core.event.encode_data`)."""

    type: str
    data: str
    stream_id: UUID | None = None


class Append(NamedTuple):
    """Entries for one session. With a `turn` they are refused unless it is the session's current one."""

    session_id: UUID
    entries: Sequence[Entry]
    turn: int | None = None


class LogTransaction:
    """What a unit of work may do to the log. `committed` collects the events, in the order of each session's seq."""

    def __init__(self) -> None:
        self.committed: list[tuple[UUID, Event]] = []
        self._postgresql = on_postgresql()
        self._now = time.time()

    def append(self, session_id: UUID, *entries: Entry, turn: int | None = None) -> int | None:
        """The seq of the last entry; None if the turn is not the session's current one (nothing was written)."""
        return self.append_all([Append(session_id, entries, turn)])[0]

    def append_all(self, appends: Sequence[Append]) -> list[int | None]:
        """As `append`, for several sessions at once, each at most once, in few statements."""
        lasts: list[int | None] = []
        for start in range(0, len(appends), _SESSIONS_PER_STATEMENT):
            lasts += self._append_part(appends[start : start + _SESSIONS_PER_STATEMENT])
        return lasts

    def open_turn(self, session_id: UUID, turn: int) -> bool:
        """From now on the session's log takes events of this turn only. False: a higher turn holds it already."""
        opened = run(
            "INSERT INTO events_head (session_id, seq, turn, open) VALUES (%s, 0, %s, %s) ON CONFLICT (session_id)"
            " DO UPDATE SET turn = excluded.turn, open = excluded.open WHERE events_head.turn < excluded.turn",
            [session_id.hex, turn, True],
        )
        return opened == 1

    def close_turn(self, session_id: UUID, turn: int) -> None:
        """From now on the session's log refuses this turn; a process that sleeps through its own end may wake."""
        run(
            "UPDATE events_head SET open = %s WHERE session_id = %s AND turn = %s",
            [False, session_id.hex, turn],
        )

    def head(self, session_id: UUID) -> int:
        """The session's last seq; 0 for a log that has no events yet."""
        found = fetch("SELECT seq FROM events_head WHERE session_id = %s", [session_id.hex])
        return int(found[0][0]) if found else 0

    def data_of(self, session_id: UUID, stream_id: UUID, type: str, field: str = "") -> list[str]:
        """The data of a stream's stored events of one type, in order: what viewers were given.

        `field`: only the string that has this name in the data, which are objects. The database reads them: an answer
        may have thousands, and Python would hold up everybody's text meanwhile.
        """
        column, key = "data", session_id.hex
        if field:
            column = f"data::json ->> '{field}'" if self._postgresql else f"json_extract(data, '$.{field}')"
        first, of_session, parameters = "", "events_event AS e WHERE session_id = %s AND", [key]
        if not self._postgresql:
            first, parameters = chain(key)
            of_session = "chain JOIN events_event AS e USING (id) WHERE"
        query = f"FROM {of_session} stream_id = %s AND type = %s"
        stored = all_rows(f"e.seq, {column}", query, [*parameters, stream_id.hex, type], first=first)
        return [data for _, data in sorted(stored, key=itemgetter(0))]

    def _append_part(self, appends: Sequence[Append]) -> list[int | None]:
        keys = [append.session_id.hex for append in appends]
        heads = dict(
            self._advance([(key, append.turn, len(append.entries)) for key, append in zip(keys, appends, strict=True)])
        )
        rows: list[tuple[Any, ...]] = []
        lasts: list[int | None] = []
        for key, (session_id, entries, _) in zip(keys, appends, strict=True):
            head = heads.get(key)
            if head is None:
                lasts.append(None)
                continue
            last, row, before = head
            lasts.append(last)
            for seq, (type, data, stream_id) in enumerate(entries, last - len(entries) + 1):
                stream_hex = None if stream_id is None else stream_id.hex
                self.committed.append((session_id, Event(seq, type, data, stream_hex)))
                if self._postgresql:
                    rows.append((key, seq, stream_hex, type, self._now, data))
                else:
                    rows.append((row, before, key, seq, stream_hex, type, self._now, data))
                    row, before = row + 1, row
        if rows:
            self._insert(rows)
        return lasts

    def _advance(self, moves: Sequence[Move]) -> Iterable[tuple[str, Head]]:
        """Moves the heads whose turn fits; gives those sessions' keys and new heads. In order of id: no deadlocks."""
        turnless = [key for key, turn, _ in moves if turn is None]
        if self._postgresql:
            return self._advance_postgresql(moves, turnless)
        if turnless:
            new, ids = values([(key,) for key in turnless])
            run(
                f"WITH new (id) AS (VALUES {new}) INSERT INTO events_head (session_id, seq, turn, open)"  # noqa: S608
                " SELECT id, 0, 0, FALSE FROM new WHERE id IS NOT NULL ON CONFLICT DO NOTHING",
                ids,
            )
        return advance(moves)

    def _advance_postgresql(self, moves: Sequence[Move], turnless: Sequence[str]) -> Iterable[tuple[str, Head]]:
        if turnless:
            run(
                "INSERT INTO events_head (session_id, seq, turn, open) SELECT id, 0, 0, FALSE"
                " FROM json_to_recordset(%s::json) AS new (id uuid) ORDER BY 1 ON CONFLICT DO NOTHING",
                [records(["id"], [[key] for key in turnless])],
            )
        # The row locks are taken by the sorted sub-select: UPDATE … FROM has no order of its own.
        heads = fetch(
            "WITH fitting AS MATERIALIZED ("
            " SELECT h.session_id, v.n FROM events_head AS h"
            " JOIN json_to_recordset(%s::json) AS v (session_id uuid, turn bigint, n bigint) USING (session_id)"
            " WHERE v.turn IS NULL OR (h.open AND h.turn = v.turn) ORDER BY 1 FOR UPDATE OF h)"
            " UPDATE events_head AS h SET seq = h.seq + fitting.n FROM fitting"
            " WHERE h.session_id = fitting.session_id RETURNING h.session_id, h.seq",
            [records(["session_id", "turn", "n"], moves)],
        )
        return [(id.hex, Head(seq)) for id, seq in heads]

    def _insert(self, rows: list[tuple[Any, ...]]) -> None:
        columns = ["session_id", "seq", "stream_id", "type", "created_at", "data"]
        if not self._postgresql:
            columns = ["id", "before", *columns]
        into = f"INSERT INTO events_event ({', '.join(columns)})"
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            part = rows[start : start + ROWS_PER_STATEMENT]
            if self._postgresql:
                # 100 rows: 1.5 ms; COPY takes 1. But a process that falls asleep within a COPY keeps its locks until it
                # wakes: PostgreSQL waits for the rest of a statement's data without any of its timeouts.
                types = "session_id uuid, seq bigint, stream_id uuid, type text, created_at float8, data text"
                run(f"{into} SELECT * FROM json_to_recordset(%s::json) AS v ({types})", [records(columns, part)])  # noqa: S608
            else:
                marks, parameters = values(part)
                run(f"{into} SELECT * FROM (VALUES {marks}) WHERE column1 IS NOT NULL", parameters)  # noqa: S608


class Along(NamedTuple):
    """What goes along with an append, in its transaction, if that is not refused.

    `work` is done once a commit, with the `item` of each append that brings it: hundreds of statements, one for each,
    would hold up everybody's text.
    """

    work: Callable[[LogTransaction, Sequence[Any]], object]
    item: Any


class First(NamedTuple):
    """What goes with a stream's first text: `entries` before it.

    `along` goes with what is stored after it, or alone a second later, if there is no end before: who begin to speak
    are many at a time, and wait for nothing but their text.
    """

    entries: Sequence[Entry]
    along: Along
