"""SQLite holds the events as a chain (`events/chain.py`); PostgreSQL as they were.

A process of an older version that still runs cannot write to the chain, and is told so: `before` has no default.
"""

from collections.abc import Callable, Sequence
from typing import Any

from django.db import migrations

_CHAIN = [
    """
    CREATE TABLE events_chained (
        id integer NOT NULL PRIMARY KEY, before bigint NOT NULL, session_id char(32) NOT NULL, seq bigint NOT NULL,
        stream_id char(32) NULL, type varchar(64) NOT NULL, created_at real NOT NULL, data text NOT NULL)
    """,
    """
    INSERT INTO events_chained SELECT id, LAG(id, 1, 0) OVER (PARTITION BY session_id ORDER BY seq), session_id, seq,
        stream_id, type, created_at, data
        FROM (SELECT ROW_NUMBER() OVER (ORDER BY created_at, session_id, seq) AS id, * FROM events_event
              WHERE session_id IN (SELECT session_id FROM events_head)) ORDER BY id
    """,
    "CREATE INDEX events_chained_temporary ON events_chained (session_id, seq)",
    "ALTER TABLE events_head ADD COLUMN first_row bigint NULL",
    "ALTER TABLE events_head ADD COLUMN last_row bigint NULL",
    """
    UPDATE events_head SET
        first_row = (SELECT id FROM events_chained WHERE session_id = events_head.session_id ORDER BY seq LIMIT 1),
        last_row = (SELECT id FROM events_chained WHERE session_id = events_head.session_id ORDER BY seq DESC LIMIT 1)
    """,
    "DROP INDEX events_chained_temporary",
    "DROP TABLE events_event",
    "ALTER TABLE events_chained RENAME TO events_event",
    "CREATE INDEX events_head_logs ON events_head (session_id) WHERE first_row IS NOT NULL",
]
_INDEX = [
    "DROP INDEX events_head_logs",
    "ALTER TABLE events_event RENAME TO events_chained",
    """
    CREATE TABLE events_event (
        session_id char(32) NOT NULL, seq bigint NOT NULL, stream_id char(32) NULL, type varchar(64) NOT NULL,
        data text NOT NULL, created_at real NOT NULL, PRIMARY KEY (session_id, seq))
    """,
    "INSERT INTO events_event SELECT session_id, seq, stream_id, type, data, created_at FROM events_chained",
    "DROP TABLE events_chained",
    "ALTER TABLE events_head DROP COLUMN first_row",
    "ALTER TABLE events_head DROP COLUMN last_row",
]


def _on_sqlite(statements: Sequence[str]) -> Callable[[Any, Any], None]:
    def carry_out(apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor == "sqlite":
            for statement in statements:
                schema_editor.execute(statement)

    return carry_out


class Migration(migrations.Migration):

    dependencies = [
        ('events', '0001_initial'),
    ]

    operations = [
        migrations.RunPython(_on_sqlite(_CHAIN), _on_sqlite(_INDEX)),
    ]
