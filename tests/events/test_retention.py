"""Which logs upkeep looks at."""

from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events import retention
from events.models import EventHead, StoredEvent


def store(session: int, *seqs: int, head: int) -> None:
    EventHead.objects.create(session_id=UUID(int=session), seq=head)
    for seq in seqs:
        StoredEvent.objects.create(
            session_id=UUID(int=session), seq=seq, stream_id=None, type="test", data="{}", created_at=0
        )


def test_only_sessions_that_have_events_are_looked_at_page_by_page(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "LOGS_PER_PAGE", 3)
    for session in range(1, 41):
        if session % 5:
            store(session, head=9)  # its events are pruned
        else:
            store(session, 7, 8, 9, head=9)
    found, after = [], None
    with CaptureQueriesContext(connection) as queries:
        while page := retention.stored_logs(after):
            assert len(page) <= 3
            found += page
            after = page[-1].session_id
    assert found == [retention.StoredLog(UUID(int=session), 7, 9) for session in range(5, 41, 5)]
    assert len(queries) == 4


def test_without_events_there_is_nothing_to_look_at(db: None) -> None:
    store(1, head=5)
    assert retention.stored_logs(None) == []
