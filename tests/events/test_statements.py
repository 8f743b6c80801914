"""Statements go past Django's cursor, and not past its rules."""

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import IntegrityError, connection, transaction

from events.statements import fetch, run


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_was_closed_is_opened_again() -> None:
    connection.close()
    assert [tuple(row) for row in fetch("SELECT 1, 'x'")] == [(1, "x")]


@pytest.mark.django_db
def test_after_an_error_a_transaction_takes_no_more_statements() -> None:
    into = "INSERT INTO auth_group (name) VALUES (%s)"
    with transaction.atomic():
        assert run(into, ["one"]) == 1
        with pytest.raises(IntegrityError), transaction.atomic():
            run(into, ["one"])
        connection.needs_rollback = True
        with pytest.raises(transaction.TransactionManagementError):
            run(into, ["two"])


async def test_nothing_is_asked_on_an_event_loop(transactional_db: None) -> None:
    with pytest.raises(SynchronousOnlyOperation):
        fetch("SELECT 1")
