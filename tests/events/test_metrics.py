"""What the event log counts of its commits, those that fail included."""

from collections.abc import Sequence
from uuid import UUID

import pytest
from django.db import OperationalError

from events import log_writer, metrics
from events.event_log import EventLog
from events.log_writing import Committed, Job, commit
from events.measuring import Counter, Histogram
from tests.events.conftest import entry


def total(measured: Counter | Histogram) -> float:
    """A counter's value; how often a histogram was told one."""
    return sum(s.value for s in measured.family().samples if s.name.endswith(("_total", "_count")))


async def test_a_commit_that_fails_is_counted_and_so_is_the_one_after_it(
    log: EventLog, session_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([OperationalError("locked")])

    def fails_at_first(jobs: Sequence[Job], *, apart: bool) -> Committed:
        if error := next(failures, None):
            raise error
        return commit(jobs, apart=apart)

    measured: list[Counter | Histogram] = [metrics.commit_failures, metrics.commit_seconds, metrics.events]
    before = [total(each) for each in measured]
    monkeypatch.setattr(log_writer, "commit", fails_at_first)
    assert await log.append(session_id, [entry(), entry()]) == 2
    assert [total(each) - was for each, was in zip(measured, before, strict=True)] == [1, 2, 2]
