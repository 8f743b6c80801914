"""A session's events on SQLite, which has no index for them: whatever is written and deleted, a log is read whole."""

import json
import os
import random
import sqlite3
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection

from events import chain, log_transaction, retention
from events.log_reading import read_page
from events.log_transaction import Append, Entry, LogTransaction
from events.models import StoredEvent
from tests.events.conftest import entry

ROOT = Path(__file__).parents[2]


def texts_after(session_id: UUID, after: int) -> list[str] | None:
    """All pages behind a cursor; None if the next event is stored no more."""
    texts: list[str] = []
    while True:
        page = read_page(session_id, after)
        if page.lost:
            return None
        texts += [json.loads(event.data) for event in page.events]
        after += len(page.events)
        if after == page.head:
            return texts


def test_a_log_is_what_was_written_less_what_was_deleted(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(4)
    sessions = [uuid4() for _ in range(7)]
    written: defaultdict[UUID, list[str]] = defaultdict(list)
    gone: defaultdict[UUID, int] = defaultdict(int)
    for step in range(400):
        log = LogTransaction()
        if chance.random() < 0.85:
            several = chance.sample(sessions, chance.randint(1, len(sessions)))
            new = {each: [f"{step}.{number}" for number in range(chance.randint(1, 3))] for each in several}
            lasts = log.append_all([Append(each, [entry(text) for text in texts]) for each, texts in new.items()])
            for each, texts in new.items():
                written[each] += texts
            assert lasts == [len(written[each]) for each in several]
        else:
            session_id, most = chance.choice(sessions), chance.randint(1, 30)
            before = gone[session_id] + chance.randint(0, 25)
            expected = max(0, min(before - 1 - gone[session_id], most, len(written[session_id]) - gone[session_id]))
            monkeypatch.setattr(retention, "EVENTS_PER_TRANSACTION", most)
            assert retention.delete_before(log, session_id, before) == expected
            gone[session_id] += expected
        session_id = chance.choice(sessions)
        after = chance.randint(0, len(written[session_id]))
        if after >= gone[session_id]:
            assert texts_after(session_id, after) == written[session_id][after:]
        else:
            assert texts_after(session_id, after) is None
    kept = {each: (gone[each] + 1, len(written[each])) for each in sessions if gone[each] < len(written[each])}
    assert {log.session_id: (log.oldest, log.head) for log in retention.stored_logs(None)} == kept


def test_a_row_that_another_session_has_got_since_is_not_taken_for_ones_own(db: None, sqlite_only: None) -> None:
    mine, other, log = uuid4(), uuid4(), LogTransaction()
    log.append(mine, entry("1"), entry("2"), entry("3"))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE events_event SET id = id + 100 WHERE seq = 3")
    StoredEvent.objects.filter(session_id=mine, seq=2).delete()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE events_head SET last_row = last_row + 100")
    log.append(other, entry("theirs"), entry("theirs too"))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE events_event SET id = 2 WHERE session_id = %s AND seq = 2", [other.hex])
    assert [json.loads(event.data) for event in read_page(mine, 2).events] == ["3"]
    assert read_page(mine, 0).lost


def test_an_append_of_nothing_changes_nothing(db: None) -> None:
    mine, log = uuid4(), LogTransaction()
    assert log.append(mine) == 0
    assert log.append(mine, entry("1")) == 1
    assert log.append(mine) == 1
    assert log.append(mine, entry("2")) == 2
    assert texts_after(mine, 0) == ["1", "2"]


def test_more_sessions_than_a_statement_takes_have_each_a_log(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_transaction, "_SESSIONS_PER_STATEMENT", 3)
    sessions = [uuid4() for _ in range(10)]
    for turn in range(2):
        lasts = LogTransaction().append_all([Append(each, [entry(f"{turn} {each}")]) for each in sessions])
        assert lasts == [turn + 1] * 10
    assert all(texts_after(each, 0) == [f"0 {each}", f"1 {each}"] for each in sessions)


def test_who_does_not_know_of_the_chain_cannot_write(db: None, sqlite_only: None) -> None:
    with pytest.raises(IntegrityError):
        StoredEvent.objects.create(session_id=uuid4(), seq=1, type="text", data="{}", created_at=0)


def test_nothing_of_a_log_is_looked_for_in_the_whole_table(db: None, sqlite_only: None) -> None:
    statement, parameters = chain.chain(uuid4().hex)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {statement} SELECT COUNT(*) FROM chain", parameters)
        plan = [row[3] for row in cursor.fetchall()]
    assert [step for step in plan if step.startswith("SCAN") and step not in ("SCAN chain", "SCAN CONSTANT ROW")] == []
    assert sum("INTEGER PRIMARY KEY" in step for step in plan) == 2


def test_a_commit_of_many_streams_writes_few_pages(transactional_db: None, sqlite_only: None) -> None:
    sessions, data = [uuid4() for _ in range(100)], json.dumps("x" * 200)
    LogTransaction().append_all([Append(each, [Entry("text", data)] * 40) for each in sessions])
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        LogTransaction().append_all([Append(each, [Entry("text", data)]) for each in sessions])
        cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
        _, pages, _ = cursor.fetchone()
    assert pages <= 25  # with an index by session there was one for each of them


def manage(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "manage.py", *arguments]
    environment = {**os.environ, "JARVIS_DATA_DIR": str(folder), "DATABASE_URL": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_the_logs_of_an_older_version_are_taken_over_and_given_back(tmp_path: Path) -> None:
    manage(tmp_path, "migrate", "-v", "0", "events", "0001")
    sessions = [uuid4().hex for _ in range(3)]
    rows = [
        (session, seq, None, "text", f'"{seq} of {session}"', 100.0 * seq + number)
        for number, session in enumerate(sessions)
        for seq in range(3 * number + 1, 9)  # the oldest of some are pruned; all of the last one's will be
    ]
    with sqlite3.connect(tmp_path / "jarvis.sqlite3") as database:
        database.executemany("INSERT INTO events_head VALUES (?, 8, 1, 1)", [(session,) for session in sessions])
        database.execute("INSERT INTO events_head VALUES (?, 5, 1, 1)", [uuid4().hex])
        database.executemany("INSERT INTO events_event VALUES (?, ?, ?, ?, ?, ?)", rows)
    database.close()
    manage(tmp_path, "migrate", "-v", "0")
    database = sqlite3.connect(tmp_path / "jarvis.sqlite3")
    for session in sessions:
        statement, parameters = chain.chain(session)
        query = f"{statement.replace('%s', '?')} SELECT e.seq, e.data FROM chain JOIN events_event e USING (id)"
        expected = [(seq, data) for owner, seq, _, _, data, _ in rows if owner == session]
        assert sorted(database.execute(query, parameters).fetchall()) == expected
        oldest = "SELECT e.seq FROM events_head h JOIN events_event e ON e.id = h.first_row WHERE h.session_id = ?"
        assert database.execute(oldest, [session]).fetchall() == [(expected[0][0],)]
    database.close()
    manage(tmp_path, "migrate", "-v", "0", "events", "0001")
    database = sqlite3.connect(tmp_path / "jarvis.sqlite3")
    assert sorted(database.execute("SELECT * FROM events_event").fetchall()) == sorted(rows)
    database.close()
