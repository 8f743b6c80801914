"""What is read from the log: pages of events, and heads. In raw SQL, on the log's reader threads."""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from events.all_rows import all_rows
from events.chain import chain
from events.core.event import Event
from events.statements import fetch, key_of, on_postgresql

PAGE_EVENTS = 500
PAGE_CHARACTERS = 256 << 10  # of data: a page is in memory as a whole, and an event may be as long as a prompt
_HEADS_PER_STATEMENT = 5_000


class Page(NamedTuple):
    """Events after a cursor, in order. `lost`: the next one is not stored (pruned, or cursor beyond head)."""

    events: list[Event]
    head: int
    lost: bool


def read_page(session_id: UUID, after: int) -> Page:
    """At most `PAGE_EVENTS` events, and no more after `PAGE_CHARACTERS`. The head is read first, so an event up to it
    that is missing has been pruned.
    """
    key = key_of(session_id)
    found = fetch("SELECT seq FROM events_head WHERE session_id = %s", [key])
    head = int(found[0][0]) if found else 0
    first, page, parameters = (
        "",
        "events_event AS e WHERE session_id = %s AND seq > %s ORDER BY seq LIMIT %s",
        [key, after],
    )
    if not on_postgresql():
        first, parameters = chain(session_id.hex, after)
        page = "(SELECT id FROM chain ORDER BY seq LIMIT %s) AS part JOIN events_event AS e USING (id)"
    rows = all_rows(
        "seq, type, data, stream_id",
        "FROM (SELECT page.*, SUM(LENGTH(data)) OVER (ORDER BY seq) - LENGTH(data) AS sent FROM"  # noqa: S608
        f" (SELECT e.seq, type, data, stream_id FROM {page}) AS page) AS sized WHERE sent < %s",
        [*parameters, PAGE_EVENTS, PAGE_CHARACTERS],
        first=first,
    )
    events = sorted(Event(row[0], row[1], row[2], _hex(row[3])) for row in rows)
    lost = after > head and not events
    if after < head:
        lost = not events or events[0].seq != after + 1
    return Page(events, max(head, events[-1].seq if events else 0), lost)


def read_heads(session_ids: Collection[UUID]) -> dict[UUID, int]:
    """The heads of these sessions; one that has no events is left out."""
    heads: dict[UUID, int] = {}
    by_key = {key_of(session_id): session_id for session_id in session_ids}
    keys: Sequence[UUID | str] = list(by_key)
    for start in range(0, len(keys), _HEADS_PER_STATEMENT):
        part = keys[start : start + _HEADS_PER_STATEMENT]
        marks = ", ".join(["%s"] * len(part))
        rows = all_rows("session_id, seq", f"FROM events_head WHERE session_id IN ({marks})", part)
        heads.update((by_key[key], seq) for key, seq in rows)
    return heads


def _hex(stored: UUID | str | None) -> str | None:
    return stored.hex if isinstance(stored, UUID) else stored
