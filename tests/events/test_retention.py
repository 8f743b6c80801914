"""Which logs upkeep looks at."""

from typing import Any
from uuid import UUID

import pytest

from events import retention
from events.log_transaction import Entry, LogTransaction
from events.statements import fetch


def store(session: int, *seqs: int, head: int) -> None:
    """A log that has come to `head`, and has these events at its end."""
    session_id, log = UUID(int=session), LogTransaction()
    log.append(session_id, *[Entry("test", "{}")] * head)
    retention.delete_before(log, session_id, seqs[0] if seqs else head + 1)


def test_only_sessions_that_have_events_are_looked_at_page_by_page(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "LOGS_PER_PAGE", 3)
    for session in range(1, 41):
        if session % 5:
            store(session, head=9)  # its events are pruned
        else:
            store(session, 7, 8, 9, head=9)
    queries: list[str] = []

    def counting(query: str, parameters: Any) -> Any:
        queries.append(query)
        return fetch(query, parameters)

    monkeypatch.setattr(retention, "fetch", counting)
    found, after = [], None
    while page := retention.stored_logs(after):
        assert len(page) <= 3
        found += page
        after = page[-1].session_id
    assert [log[:3] for log in found] == [(UUID(int=session), 7, 9) for session in range(5, 41, 5)]
    assert len(queries) == 4


def test_without_events_there_is_nothing_to_look_at(db: None) -> None:
    store(1, head=5)
    assert retention.stored_logs(None) == []
