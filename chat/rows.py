"""Rows of models without a QuerySet, which takes 0.3 to 0.6 ms to say what it wants; this takes a fifth of that.

A stream's start and end read and write nine rows on the one thread that writes; while it does, everybody's text waits.
"""

from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import Field, Model

from events.log_reading import key_of

M = TypeVar("M", bound=Model)


def read(model: type[M], where: str, *parameters: Any, lock: bool = False) -> list[M]:
    """The rows for which the condition, in SQL, holds. `lock`: `select_for_update`, where there is such a thing."""
    statement = f"SELECT {', '.join(_columns(model))} FROM {_table(model)} WHERE {where}"  # noqa: S608
    if lock and connection.features.has_select_for_update:
        statement += " FOR UPDATE"
    keys = [key_of(value) if isinstance(value, UUID) else value for value in parameters]
    return list(model._default_manager.raw(statement, keys))


def insert(*new: Model) -> None:
    """Objects of one model, in one statement. Sends no signals."""
    columns = _columns(type(new[0]))
    names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
    values = [_value(each, field, add=True) for each in new for field in columns.values()]
    with connection.cursor() as cursor:
        statement = f"INSERT INTO {_table(type(new[0]))} ({names}) VALUES {', '.join([f'({marks})'] * len(new))}"  # noqa: S608
        cursor.execute(statement, values)
    for each in new:
        each._state.adding, each._state.db = False, connection.alias


def update(changed: Model, *attributes: str) -> None:
    """These attributes (`attname`: `lease_id`, not `lease`) of the row with the object's id, if there is one.

    Sends no signals.
    """
    fields = {field.attname: (column, field) for column, field in _columns(type(changed)).items()}
    written = [fields[attribute] for attribute in attributes]
    values = [_value(changed, field, add=False) for _, field in written]
    key_column, key = fields["id"]
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_table(type(changed))} SET {', '.join(f'{column} = %s' for column, _ in written)} "  # noqa: S608
            f"WHERE {key_column} = %s",
            [*values, _value(changed, key, add=False)],
        )


def _value(of: Model, field: "Field[Any, Any]", *, add: bool) -> Any:
    return field.get_db_prep_save(field.pre_save(of, add), connection)


def _table(model: type[Model]) -> str:
    return str(connection.ops.quote_name(model._meta.db_table))


@cache
def _columns(model: type[Model]) -> "dict[str, Field[Any, Any]]":
    return {connection.ops.quote_name(str(field.column)): field for field in model._meta.local_concrete_fields}
