"""Single SQL statements, on the thread's own connection.

They go past Django's cursor: it takes some 35 µs for a statement that takes SQLite 5, and looks through a statement of
a hundred rows for its placeholders (#4). They are not in Django's `connection.queries`, nor do its `execute_wrappers`
see them.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections


def run(statement: str, parameters: Sequence[Any] = ()) -> int:
    """Carries the statement out; how many rows it has changed (SQLite: -1 if it begins with WITH).

    `%s` stands for a parameter, and nothing else may look like it. Raises Django's database errors.
    """
    count: int = _answered(statement, parameters, lambda cursor: cursor.rowcount)
    return count


def fetch(statement: str, parameters: Sequence[Any] = ()) -> list[Sequence[Any]]:
    """The rows that the statement gives. On SQLite one by one: for many of them there is `all_rows`."""
    rows: list[Sequence[Any]] = _answered(statement, parameters, lambda cursor: cursor.fetchall())
    return rows


@cache
def on_postgresql() -> bool:
    return connections[DEFAULT_DB_ALIAS].vendor == "postgresql"


def key_of(identifier: UUID) -> UUID | str:
    """The id as the database has it."""
    return identifier if on_postgresql() else identifier.hex


def id_of(key: UUID | str) -> UUID:
    return key if isinstance(key, UUID) else UUID(key)


def _answered(statement: str, parameters: Sequence[Any], answer: Callable[[Any], Any]) -> Any:
    here: Any = connections[DEFAULT_DB_ALIAS]  # Django's `connection` looks for it again with each attribute
    here.close_if_health_check_failed()
    if here.connection is None:  # else it would only look, with each statement, whether a loop runs in this thread
        here.ensure_connection()
    here.validate_no_broken_transaction()
    with here.wrap_database_errors:
        if not on_postgresql():
            return answer(here.connection.execute(statement.replace("%s", "?"), parameters))
        with here.connection.cursor() as cursor:
            return answer(cursor.execute(statement, parameters))
