"""The event log: contiguous, fenced by turn, durable before announced, and no worse for what goes wrong around it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, connection, transaction
from pytest_django import Settings

from events import event_log, log_reading, log_threads, log_transaction, log_writer, log_writing
from events.commit_outcome import OutcomeUnknown
from events.core.event import Event, encode_data
from events.event_log import EventLog
from events.exceptions import BusClosed, StorageUnavailable
from events.log_reading import PAGE_CHARACTERS, PAGE_EVENTS
from events.log_transaction import Along, Entry, LogTransaction
from events.log_writing import Committed, Job, commit
from events.models import StoredEvent
from tests.events.conftest import LockedDatabase, entry, until
from tests.events.handed_in import handed_in

Announced = list[tuple[UUID, Event]]


class Refused(Exception):
    """What a unit of work of the domain may raise."""


async def stored(log: EventLog, session_id: UUID) -> list[Event]:
    events: list[Event] = []
    while True:
        page = await log.read(session_id, len(events))
        assert not page.lost
        events += page.events
        if len(events) == page.head:
            return events


@asynccontextmanager
async def one_commit(log: EventLog) -> AsyncIterator[None]:
    """What is asked for inside is committed together: the writer is kept busy until the end of the block."""
    busy, go_on = threading.Event(), threading.Event()

    def keep_busy(_: LogTransaction) -> None:
        busy.set()
        go_on.wait()

    task = asyncio.ensure_future(log.transaction(keep_busy))
    await until(busy.is_set)
    try:
        yield
        await asyncio.sleep(0)  # tasks that were made inside have asked by now
    finally:
        go_on.set()
    await task


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many jobs each attempt to commit had."""
    sizes: list[int] = []

    def counting(jobs: Sequence[Job], *, apart: bool) -> Committed:
        sizes.append(len(jobs))
        return commit(jobs, apart=apart)

    monkeypatch.setattr(log_writer, "commit", counting)
    return sizes


# --- numbers and order ---


async def test_seqs_are_contiguous_from_1_under_concurrent_appends_to_many_sessions(
    log: EventLog, announced: Announced
) -> None:
    sessions = [uuid4() for _ in range(20)]

    async def write(session_id: UUID, number: int) -> None:
        entries = [entry(f"{number}.{part}") for part in range(1 + number % 3)]
        last = await log.append(session_id, entries)
        assert last is not None
        texts = [event.data for event in (await log.read(session_id, last - len(entries))).events[: len(entries)]]
        assert texts == [item.data for item in entries]

    await asyncio.gather(*(write(session_id, number) for number in range(30) for session_id in sessions))

    for session_id in sessions:
        events = await stored(log, session_id)
        assert [event.seq for event in events] == list(range(1, 61))
        assert [event for about, event in announced if about == session_id] == events


async def test_appends_that_were_asked_for_in_order_are_written_in_order(
    log: EventLog, session_id: UUID, commits: list[int]
) -> None:
    async with one_commit(log):
        appends = [asyncio.ensure_future(log.append(session_id, [entry(str(number))])) for number in range(50)]
    assert await asyncio.gather(*appends) == list(range(1, 51))
    assert [event.data for event in await stored(log, session_id)] == [f'"{number}"' for number in range(50)]
    assert commits == [1, 50]


async def test_a_unit_of_work_keeps_its_place_among_appends(log: EventLog, session_id: UUID) -> None:
    async with one_commit(log):
        waiting = [
            asyncio.ensure_future(log.append(session_id, [entry("1")])),
            asyncio.ensure_future(log.transaction(lambda inside: inside.append(session_id, entry("2"), entry("3")))),
            asyncio.ensure_future(log.append(session_id, [entry("4")])),
        ]
    assert await asyncio.gather(*waiting) == [1, 3, 4]


async def test_what_gives_way_is_written_behind_all_else_and_few_at_a_time(
    log: EventLog, session_id: UUID, commits: list[int]
) -> None:
    def last(inside: LogTransaction) -> int | None:
        return inside.append(session_id, entry())

    async with one_commit(log):
        patient = [asyncio.ensure_future(log.transaction(last, gives_way=True)) for _ in range(6)]
        others = [asyncio.ensure_future(log.append(session_id, [entry()])) for _ in range(2)]
    assert await asyncio.gather(*others, *patient) == list(range(1, 9))
    assert commits == [1, 6, 2]


async def test_ends_are_held_up_while_more_give_way_than_go_into_a_commit(log: EventLog, session_id: UUID) -> None:
    waiting = []
    held_up = []
    async with one_commit(log):
        for _ in range(5):
            held_up.append(log.holds_up_ends)
            waiting.append(asyncio.ensure_future(log.transaction(lambda inside: None, gives_way=True)))
            await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert held_up == [False, False, False, False, True]
    assert not log.holds_up_ends


async def test_of_many_that_give_way_more_go_at_a_time(log: EventLog, session_id: UUID, commits: list[int]) -> None:
    async with one_commit(log):
        patient = [
            asyncio.ensure_future(log.transaction(lambda inside: inside.append(session_id, entry()), gives_way=True))
            for _ in range(160)
        ]
    assert await asyncio.gather(*patient) == list(range(1, 161))
    assert commits[:3] == [1, 5, 4]  # one in thirty-two of those that wait
    assert commits[-1] <= 4


async def test_those_that_have_waited_long_go_more_at_a_time(
    log: EventLog, session_id: UUID, commits: list[int], settings: Settings
) -> None:
    async with one_commit(log):
        patient = [
            asyncio.ensure_future(log.transaction(lambda inside: inside.append(session_id, entry()), gives_way=True))
            for _ in range(160)
        ]
        await asyncio.sleep(0)  # all of them have asked
        settings.EVENTS_STORAGE_TIMEOUT_SECONDS = 1000  # of which they have used up more than a quarter now
    await asyncio.gather(*patient)
    assert commits[:3] == [1, 20, 17]  # one in eight


async def test_more_sessions_than_a_statement_takes(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_transaction, "_SESSIONS_PER_STATEMENT", 3)
    monkeypatch.setattr(log_transaction, "ROWS_PER_STATEMENT", 3)
    async with one_commit(log):
        session_ids = [uuid4() for _ in range(10)]
        appends = [asyncio.ensure_future(log.append(each, [entry("a"), entry("b")])) for each in session_ids]
    assert await asyncio.gather(*appends) == [2] * 10
    for session_id in session_ids:
        assert [event.data for event in await stored(log, session_id)] == ['"a"', '"b"']


async def test_many_rows_are_one_step_of_a_statement(log: EventLog) -> None:
    """Row by row, each would wait for the interpreter's lock: 0.7 s for 100 of them, beside a busy loop."""
    statements: list[str] = []

    def listen(_: LogTransaction) -> None:  # to the writer's connection
        if connection.vendor == "sqlite":
            connection.connection.set_trace_callback(statements.append)  # each time that one begins
            return
        usual: Any = connection.connection.cursor_factory

        class Noting(usual):  # type: ignore[misc]
            def execute(self, query: str, *args: Any, **options: Any) -> Any:
                statements.append(query)
                return super().execute(query, *args, **options)

        connection.connection.cursor_factory = Noting

    await log.transaction(listen)
    stream_id = uuid4()
    async with one_commit(log):
        appends = [asyncio.ensure_future(log.append(uuid4(), [entry("x", stream_id)] * 2)) for _ in range(300)]
    assert await asyncio.gather(*appends) == [2] * 300
    assert sum("INTO events_event" in sql for sql in statements) == 2  # 600 rows, ROWS_PER_STATEMENT each
    for sql in statements:
        assert connection.vendor == "postgresql" or "RETURNING" not in sql
    assert len(statements) < 20


async def test_what_is_stored_comes_back_as_it_was(log: EventLog, session_id: UUID) -> None:
    stream_id = uuid4()
    data = '{"text":"😀 e\u0301 שלום \\" %s \\\\ \ufffd \'"}'
    await log.append(session_id, [log_transaction.Entry("chat.token", data, stream_id)])
    [event] = await stored(log, session_id)
    assert event == Event(1, "chat.token", data, stream_id.hex)


async def test_a_transaction_knows_the_head_and_what_a_stream_has_stored(log: EventLog, session_id: UUID) -> None:
    stream_id = uuid4()
    await log.append(session_id, [entry("1", stream_id), entry("other"), entry("2", stream_id)])

    def read(inside: LogTransaction) -> tuple[int, int, list[str]]:
        data = inside.data_of(session_id, stream_id, "test.text")
        return inside.head(session_id), inside.head(uuid4()), data

    assert await log.transaction(read) == (3, 0, ['"1"', '"2"'])


async def test_one_field_of_what_a_stream_has_stored_comes_back_byte_for_byte(log: EventLog, session_id: UUID) -> None:
    stream_id = uuid4()
    texts = ["plain", "", 'a"b\\c/d', "\n\r\t\x01\x7f", "é\u2028\u2029\x85", "\U0001f600", "null", "12", "</script>"]
    for text in texts:
        data = encode_data({"other": "x", "text": text})
        await log.append(session_id, [log_transaction.Entry("chat.token", data, stream_id)])
    assert await log.transaction(lambda log: log.data_of(session_id, stream_id, "chat.token", "text")) == texts


# --- turns ---


async def test_an_append_of_another_turn_writes_nothing(log: EventLog, session_id: UUID, announced: Announced) -> None:
    assert await log.append(session_id, [entry()], turn=1) is None
    assert await log.transaction(lambda inside: inside.open_turn(session_id, 1))
    assert await log.append(session_id, [entry()], turn=2) is None
    assert await log.append(session_id, [entry("mine")], turn=1) == 1
    assert [event.data for event in await stored(log, session_id)] == ['"mine"']
    assert len(announced) == 1


async def test_a_closed_turn_is_refused(log: EventLog, session_id: UUID) -> None:
    await log.transaction(lambda inside: inside.open_turn(session_id, 1))
    await log.transaction(lambda inside: inside.close_turn(session_id, 1))
    assert await log.append(session_id, [entry()], turn=1) is None


async def test_only_the_turn_that_is_open_can_be_closed(log: EventLog, session_id: UUID) -> None:
    await log.transaction(lambda inside: inside.open_turn(session_id, 2))
    await log.transaction(lambda inside: inside.close_turn(session_id, 1))
    assert await log.append(session_id, [entry()], turn=2) == 1


async def test_events_without_a_turn_are_always_accepted(log: EventLog, session_id: UUID) -> None:
    assert await log.append(session_id, [entry("before any turn")]) == 1
    await log.transaction(lambda inside: inside.open_turn(session_id, 7))
    assert await log.append(session_id, [entry("while one is open")]) == 2
    await log.transaction(lambda inside: inside.close_turn(session_id, 7))
    assert await log.append(session_id, [entry("after it")]) == 3


async def test_only_a_higher_turn_takes_over(log: EventLog, session_id: UUID) -> None:
    async def opens(turn: int) -> bool:
        return await log.transaction(lambda inside: inside.open_turn(session_id, turn))

    assert [await opens(turn) for turn in (2, 1, 2, 3)] == [True, False, False, True]
    assert await log.append(session_id, [entry()], turn=2) is None
    assert await log.append(session_id, [entry()], turn=3) == 1


async def test_a_turn_is_refused_in_the_same_commit_that_ends_it(log: EventLog, session_id: UUID) -> None:
    await log.transaction(lambda inside: inside.open_turn(session_id, 1))
    async with one_commit(log):
        mine = asyncio.ensure_future(log.append(session_id, [entry("in time")], turn=1))
        newer = asyncio.ensure_future(log.transaction(lambda inside: inside.open_turn(session_id, 2)))
        late = asyncio.ensure_future(log.append(session_id, [entry("late")], turn=1))
        others = asyncio.ensure_future(log.append(uuid4(), [entry()]))
    assert (await mine, await newer, await late, await others) == (1, True, None, 1)


async def test_the_work_of_an_append_goes_with_it_and_not_if_it_is_refused(
    log: EventLog, session_id: UUID, commits: list[int]
) -> None:
    done: list[list[str]] = []

    def store(_: LogTransaction, names: Sequence[str]) -> None:
        done.append(list(names))
        Group.objects.bulk_create([Group(name=name) for name in names])

    await log.transaction(lambda inside: inside.open_turn(session_id, 2))
    async with one_commit(log):
        late = handed_in(log, session_id, [entry()], turn=1, along=Along(store, "late"))
        mine = handed_in(log, session_id, [entry(), entry()], turn=2, along=Along(store, "mine"))
        other = handed_in(log, uuid4(), [entry()], along=Along(store, "other"))
    assert (await late, await mine, await other) == (None, 2, 1)
    assert commits[-1] == 3
    names = await log.transaction(lambda _: list(Group.objects.order_by("name").values_list("name", flat=True)))
    assert names == ["mine", "other"]
    assert done == [["mine", "other"]]  # once, for both


async def test_work_that_fails_undoes_its_own_append_and_no_other(log: EventLog, session_id: UUID) -> None:
    def refuse(_: LogTransaction, items: Sequence[None]) -> None:
        raise Refused

    async with one_commit(log):
        fine = asyncio.ensure_future(log.append(uuid4(), [entry()]))
        refused = handed_in(log, session_id, [entry()], along=Along(refuse, None))
    assert await fine == 1
    with pytest.raises(Refused):
        await refused
    assert await stored(log, session_id) == []


# --- refusals, and who is spared ---


async def test_a_refusal_undoes_its_own_work_and_nothing_else(
    log: EventLog, session_id: UUID, announced: Announced, commits: list[int]
) -> None:
    other, fine = uuid4(), uuid4()

    def refuse(inside: LogTransaction) -> None:
        inside.append(session_id, entry("undone"))
        Group.objects.create(name="undone")
        raise Refused

    async with one_commit(log):
        appended = asyncio.ensure_future(log.append(other, [entry()]))
        refused = asyncio.ensure_future(log.transaction(refuse))
        worked = asyncio.ensure_future(log.transaction(lambda inside: inside.append(fine, entry())))
    assert await appended == await worked == 1
    with pytest.raises(Refused):
        await refused
    assert commits == [1, 3]  # all in one
    assert [about for about, _ in announced] == [other, fine]
    assert await stored(log, session_id) == []
    assert await log.transaction(lambda _: Group.objects.count()) == 0


async def test_only_what_is_committed_with_a_refusal_is_done_again(log: EventLog) -> None:
    """There are no savepoints until one is needed; then all have one for a while, as who refuses once may again."""
    done: list[str] = []

    def work(inside: LogTransaction) -> None:
        done.append("fine")
        Group.objects.create(name=f"fine {len(done)}")

    def refuse(inside: LogTransaction) -> None:
        done.append("refused")
        raise Refused

    async def together() -> None:
        async with one_commit(log):
            fine, refused = [asyncio.ensure_future(log.transaction(each)) for each in (work, refuse)]
        await fine
        with pytest.raises(Refused):
            await refused

    await log.transaction(work)
    assert done == ["fine"]
    await together()
    assert done[1:] == ["fine", "refused"] * 2
    await together()
    assert done[5:] == ["fine", "refused"]
    assert await log.transaction(lambda _: Group.objects.count()) == 3


async def test_who_refuses_alone_does_so_once(log: EventLog) -> None:
    done: list[str] = []

    def refuse(inside: LogTransaction) -> None:
        done.append("refused")
        Group.objects.create(name="undone")
        raise Refused

    with pytest.raises(Refused):
        await log.transaction(refuse)
    assert done == ["refused"]
    assert await log.transaction(lambda _: Group.objects.count()) == 0


@pytest.mark.parametrize("alone", [True, False])
async def test_work_that_catches_an_error_of_the_database_fails_and_nothing_else_does(
    log: EventLog, session_id: UUID, alone: bool
) -> None:
    """Django marks the transaction around it as broken then, and would undo all of it without a word."""

    def catch(_: LogTransaction) -> None:
        Group.objects.create(name="one")
        with suppress(IntegrityError):
            Group.objects.create(name="one")

    def catch_within(_: LogTransaction) -> None:
        Group.objects.create(name="one")
        with suppress(IntegrityError), transaction.atomic():
            Group.objects.create(name="one")

    if alone:
        with pytest.raises(transaction.TransactionManagementError, match="atomic"):
            await log.transaction(catch)
        return
    async with one_commit(log):
        appended = asyncio.ensure_future(log.append(session_id, [entry()]))
        broken = asyncio.ensure_future(log.transaction(catch))
        fine = asyncio.ensure_future(log.transaction(catch_within))
    with pytest.raises(transaction.TransactionManagementError, match="atomic"):
        await broken
    await fine
    assert await appended == 1
    assert len(await stored(log, session_id)) == 1
    assert await log.transaction(lambda _: Group.objects.count()) == 1


async def test_what_is_hard_to_quote_is_stored_as_it_is(log: EventLog, session_id: UUID) -> None:
    texts = [
        "\\ \\\\ ' '' \" %s %% $1 ?",
        "\u0001\t\r\n\x7f\x85\u2028\u2029",
        "\U0001f9ea e\u0301 \ufffd",
        "\\u0000 \\ud800",
        "{}[]:,",
    ]
    data = [encode_data({"text": text}) for text in texts]
    assert await log.append(session_id, [Entry("test.text", each) for each in data]) == len(data)
    assert [event.data for event in await stored(log, session_id)] == data


def breaks_a_rule_at_once(_: LogTransaction) -> None:
    Group.objects.create(name="one")
    Group.objects.create(name="one")


def breaks_a_rule_at_the_commit(_: LogTransaction) -> None:
    LogEntry.objects.create(user_id=999, action_flag=1, object_repr="a foreign key to nobody")


@pytest.mark.parametrize("work", [breaks_a_rule_at_once, breaks_a_rule_at_the_commit])
async def test_a_broken_constraint_fails_alone_and_is_not_tried_again(
    log: EventLog, session_id: UUID, commits: list[int], work: Callable[[LogTransaction], None]
) -> None:
    async with one_commit(log):
        before = asyncio.ensure_future(log.append(session_id, [entry()]))
        broken = asyncio.ensure_future(log.transaction(work))
        after = asyncio.ensure_future(log.append(session_id, [entry()]))
    with pytest.raises(IntegrityError):
        await broken
    assert (await before, await after) == (1, 2)
    assert len(commits) <= 5  # the block's own; all together; each alone


async def test_an_event_that_cannot_be_stored_fails_alone(log: EventLog, session_id: UUID) -> None:
    async with one_commit(log):
        fine = asyncio.ensure_future(log.append(session_id, [entry()]))
        broken = asyncio.ensure_future(log.append(uuid4(), [log_transaction.Entry("x", None)]))  # type: ignore[arg-type]
    with pytest.raises(DatabaseError):
        await broken
    assert await fine == 1


async def test_work_that_always_finds_something_locked_does_not_hold_up_the_others(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(_: LogTransaction) -> None:
        raise OperationalError("a row that somebody holds")

    troubled = asyncio.ensure_future(log.transaction(locked))
    for number in range(1, 4):
        async with asyncio.timeout(5):
            lasts = await asyncio.gather(*(log.append(UUID(int=session), [entry()]) for session in range(10)))
        assert lasts == [number] * 10
        assert not troubled.done()
    monkeypatch.setattr(log_writer, "CLOSE_SECONDS", 0)
    await log.aclose()
    with pytest.raises(StorageUnavailable):
        await troubled


async def test_a_sessions_next_event_does_not_overtake_one_that_is_tried_again(
    log: EventLog, session_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([OperationalError("together"), OperationalError("first alone")])

    def fails_at_first(jobs: Sequence[Job], *, apart: bool) -> Committed:
        if jobs[0].append is not None and (error := next(failures, None)):
            raise error
        return commit(jobs, apart=apart)

    async with one_commit(log):
        monkeypatch.setattr(log_writer, "commit", fails_at_first)
        mine = [asyncio.ensure_future(log.append(session_id, [entry(text)])) for text in ("1", "2")]
        other = asyncio.ensure_future(log.append(uuid4(), [entry()]))
    assert await asyncio.gather(*mine) == [1, 2]
    assert await other == 1
    assert [event.data for event in await stored(log, session_id)] == ['"1"', '"2"']


async def test_work_that_is_tried_again_takes_effect_once(log: EventLog, session_id: UUID) -> None:
    runs: list[int] = []

    def fails_at_first(inside: LogTransaction) -> int | None:
        runs.append(1)
        last = inside.append(session_id, entry())
        if len(runs) == 1:
            raise OperationalError("away for a moment")
        return last

    assert await log.transaction(fails_at_first) == 1
    assert len(runs) == 2
    assert len(await stored(log, session_id)) == 1


# --- durable before announced ---


def test_what_is_announced_can_be_read_by_others_at_that_moment(transactional_db: None) -> None:
    """Not async: it blocks the loop to look at the database at the moment of the announcement."""
    seen: list[bool] = []
    elsewhere = ThreadPoolExecutor(1)

    def look(session_id: UUID, seq: int) -> bool:
        return StoredEvent.objects.filter(session_id=session_id, seq=seq).exists()

    def announce(committed: Committed) -> None:
        seen.extend(elsewhere.submit(look, session_id, event.seq).result() for session_id, event in committed)

    async def scenario() -> None:
        log = EventLog(announce)
        await asyncio.gather(*(log.append(UUID(int=number % 3), [entry(), entry()]) for number in range(12)))
        await log.transaction(lambda inside: inside.append(uuid4(), entry()))
        await log.aclose()

    asyncio.run(scenario())
    elsewhere.submit(lambda: connection.close()).result()
    elsewhere.shutdown()
    assert seen == [True] * 25


async def test_it_is_announced_before_its_writer_goes_on(log: EventLog, session_id: UUID, announced: Announced) -> None:
    await log.append(session_id, [entry()])
    assert len(announced) == 1


# --- when the database is locked ---


async def test_while_the_database_is_locked_all_wait_and_nothing_is_lost(
    log: EventLog, locked_database: LockedDatabase, commits: list[int], announced: Announced
) -> None:
    await locked_database.lock()
    appends = [asyncio.ensure_future(log.append(UUID(int=number % 5), [entry(str(number))])) for number in range(20)]
    work = asyncio.ensure_future(log.transaction(lambda inside: inside.append(UUID(int=9), entry())))
    await until(lambda: len(commits) > 3)
    assert announced == []
    locked_database.release()
    assert await asyncio.gather(*appends) == [1 + number // 5 for number in range(20)]
    assert await work == 1
    for session in range(5):
        texts = [event.data for event in await stored(log, UUID(int=session))]
        assert texts == [f'"{number}"' for number in range(session, 20, 5)]


async def test_after_the_time_limit_all_are_refused_and_later_it_goes_on_by_itself(
    log: EventLog, session_id: UUID, locked_database: LockedDatabase, settings: Settings, announced: Announced
) -> None:
    settings.EVENTS_STORAGE_TIMEOUT_SECONDS = 0.2
    await locked_database.lock()
    async with asyncio.timeout(5):  # not the time of a lock for each of them
        refused = await asyncio.gather(
            *(log.append(uuid4(), [entry()]) for _ in range(100)),
            log.transaction(lambda inside: inside.append(session_id, entry())),
            return_exceptions=True,
        )
    assert {type(error) for error in refused} == {StorageUnavailable}
    settings.EVENTS_STORAGE_TIMEOUT_SECONDS = 10
    locked_database.release()
    assert await log.append(session_id, [entry("later")]) == 1
    assert [event.data for _, event in announced] == ['"later"']


async def test_the_log_can_be_read_while_it_cannot_be_written(
    log: EventLog, session_id: UUID, locked_database: LockedDatabase
) -> None:
    await log.append(session_id, [entry()])
    await locked_database.lock()
    assert len(await stored(log, session_id)) == 1
    assert await log.heads([session_id]) == {session_id: 1}


async def test_a_log_that_is_closed_while_the_database_is_locked_gives_up(
    log: EventLog, locked_database: LockedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "CLOSE_SECONDS", 0.1)
    await locked_database.lock()
    append = asyncio.ensure_future(log.append(uuid4(), [entry()]))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await log.aclose()
    with pytest.raises(StorageUnavailable):
        await append


# --- when nobody knows what became of a commit ---


class LostAnswer:
    """The next commit is done, or not; nobody knows which until the database `says` so."""

    def __init__(self, committed: bool) -> None:
        self.committed, self.says = committed, False
        self.attempts = 0

    def commit(self, jobs: Sequence[Job], *, apart: bool) -> Committed:
        self.attempts += 1
        if self.attempts > 1:
            return commit(jobs, apart=apart)
        done = commit(jobs, apart=apart) if self.committed else []
        raise OutcomeUnknown("7", done) from OperationalError("connection lost")

    def has_committed(self, transaction_id: str) -> bool | None:
        return self.committed if self.says else None


@pytest.mark.parametrize("committed", [True, False])
async def test_until_it_is_known_what_became_of_a_commit_nothing_is_written(
    log: EventLog, session_id: UUID, settings: Settings, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    lost, doubts = LostAnswer(committed), list[str]()
    monkeypatch.setattr(log_writer, "commit", lost.commit)
    monkeypatch.setattr(log_writer, "has_committed", lost.has_committed)
    settings.EVENTS_STORAGE_TIMEOUT_SECONDS = 0.2
    first = handed_in(log, session_id, [entry("1")], on_doubt=lambda: doubts.append("first"))
    await until(lambda: doubts)
    with pytest.raises(StorageUnavailable):
        await log.append(session_id, [entry("2")])
    settings.EVENTS_STORAGE_TIMEOUT_SECONDS = 10
    third = asyncio.ensure_future(log.append(session_id, [entry("3")]))
    await asyncio.sleep(0)
    assert (lost.attempts, doubts, first.done()) == (1, ["first"], False)
    lost.says = True
    if committed:
        assert (await first, await third) == (1, 2)
    else:
        with pytest.raises(StorageUnavailable):
            await first
        assert await third == 1
    texts = [event.data for event in await stored(log, session_id)]
    assert texts == (['"1"', '"3"'] if committed else ['"3"'])


async def test_a_commit_that_turns_out_to_be_done_in_time_was_never_in_doubt(
    log: EventLog, session_id: UUID, announced: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = LostAnswer(committed=True)
    lost.says = True
    monkeypatch.setattr(log_writer, "commit", lost.commit)
    monkeypatch.setattr(log_writer, "has_committed", lost.has_committed)
    assert await log.append(session_id, [entry()]) == 1
    assert len(announced) == 1


async def test_a_log_that_is_closed_while_a_commit_is_in_doubt_gives_up(
    log: EventLog, session_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = LostAnswer(committed=True)
    monkeypatch.setattr(log_writer, "commit", lost.commit)
    monkeypatch.setattr(log_writer, "has_committed", lost.has_committed)
    monkeypatch.setattr(log_writer, "CLOSE_SECONDS", 0.1)
    append = asyncio.ensure_future(log.append(session_id, [entry()]))
    await until(lambda: lost.attempts)
    async with asyncio.timeout(5):
        await log.aclose()
    with pytest.raises(StorageUnavailable):
        await append


# --- waiters and the end ---


async def test_a_waiter_that_is_cancelled_disturbs_nobody(log: EventLog, session_id: UUID, commits: list[int]) -> None:
    async with one_commit(log):
        first = asyncio.ensure_future(log.append(session_id, [entry("1")]))
        cancelled = asyncio.ensure_future(log.append(session_id, [entry("2")]))
        await asyncio.sleep(0)
        cancelled.cancel()
        last = asyncio.ensure_future(log.append(session_id, [entry("3")]))
    assert (await first, await last) == (1, 3)  # it was on its way; nobody can tell a cancelled one from a late one
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert commits == [1, 3]


async def test_close_writes_what_waits_and_takes_nothing_more(log: EventLog, session_id: UUID) -> None:
    appends = [asyncio.ensure_future(log.append(session_id, [entry()])) for _ in range(100)]
    await asyncio.sleep(0)
    await log.aclose()
    assert await asyncio.gather(*appends) == list(range(1, 101))
    with pytest.raises(BusClosed):
        await log.append(session_id, [entry()])
    with pytest.raises(BusClosed):
        await log.read(session_id, 0)
    await log.aclose()


async def test_close_ends_all_threads(log: EventLog, session_id: UUID) -> None:
    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("event-log")]

    await log.append(session_id, [entry()])
    await asyncio.gather(*(log.read(session_id, 0) for _ in range(20)))
    assert threads()
    await log.aclose()
    await until(lambda: not threads())


async def test_close_does_not_wait_for_a_reader_that_is_stuck(
    log: EventLog, session_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, go_on = threading.Event(), threading.Event()

    def never_ends(*_: Any) -> Any:
        stuck.set()
        go_on.wait()

    monkeypatch.setattr(event_log, "read_page", never_ends)
    monkeypatch.setattr(log_threads, "CLOSE_SECONDS", 0.2)
    reading = asyncio.ensure_future(log.read(session_id, 0))
    await until(stuck.is_set)
    try:
        async with asyncio.timeout(5):
            await log.aclose()
    finally:
        go_on.set()
    await reading


async def test_a_read_that_takes_too_long_is_given_up(
    log: EventLog, session_id: UUID, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(event_log, "read_page", lambda *_: go_on.wait())
    settings.EVENTS_STORAGE_TIMEOUT_SECONDS = 0.1
    try:
        with pytest.raises(StorageUnavailable):
            await log.read(session_id, 0)
    finally:
        go_on.set()


# --- reading ---


async def test_a_long_log_is_read_in_pages(log: EventLog, session_id: UUID) -> None:
    await log.append(session_id, [entry(str(number)) for number in range(2 * PAGE_EVENTS + 7)])
    pages = [await log.read(session_id, after) for after in (0, PAGE_EVENTS, 2 * PAGE_EVENTS, 2 * PAGE_EVENTS + 7)]
    assert [len(page.events) for page in pages] == [PAGE_EVENTS, PAGE_EVENTS, 7, 0]
    assert {page.head for page in pages} == {2 * PAGE_EVENTS + 7}
    assert not any(page.lost for page in pages)
    assert [event.seq for page in pages for event in page.events] == list(range(1, 2 * PAGE_EVENTS + 8))


async def test_a_log_of_long_events_is_read_in_short_pages(log: EventLog, session_id: UUID) -> None:
    long = "x" * (PAGE_CHARACTERS // 2)
    await log.append(session_id, [entry(long) for _ in range(7)])
    counts, after = [], 0
    while after < 7:
        page = await log.read(session_id, after)
        counts.append(len(page.events))
        after = page.events[-1].seq
    assert counts == [2, 2, 2, 1]


@pytest.mark.parametrize(
    ("after", "lost", "seqs"),
    [
        (0, True, [6, 7, 8]),
        (4, True, [6, 7, 8]),
        (5, False, [6, 7, 8]),
        (7, False, [8]),
        (8, False, []),
        (9, True, []),
        (10**15, True, []),
    ],
)
async def test_a_cursor_before_what_is_stored_or_beyond_the_head_is_lost(
    log: EventLog, session_id: UUID, after: int, lost: bool, seqs: list[int]
) -> None:
    await log.append(session_id, [entry() for _ in range(8)])
    await log.transaction(lambda _: StoredEvent.objects.filter(session_id=session_id, seq__lte=5).delete())
    page = await log.read(session_id, after)
    assert page.lost is lost
    assert page.head == 8
    assert [event.seq for event in page.events] == seqs


async def test_a_log_whose_events_are_all_pruned_is_lost_but_for_its_head(log: EventLog, session_id: UUID) -> None:
    await log.append(session_id, [entry() for _ in range(3)])
    await log.transaction(lambda _: StoredEvent.objects.filter(session_id=session_id).delete())
    assert [(await log.read(session_id, after)).lost for after in range(5)] == [True, True, True, False, True]


async def test_a_session_without_events_has_an_empty_log(log: EventLog) -> None:
    assert await log.read(uuid4(), 0) == log_reading.Page([], 0, lost=False)
    assert (await log.read(uuid4(), 1)).lost


async def test_the_heads_of_many_sessions(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reading, "_HEADS_PER_STATEMENT", 7)
    heads = {uuid4(): 1 + number % 3 for number in range(50)}
    await asyncio.gather(*(log.append(session_id, [entry()] * count) for session_id, count in heads.items()))
    assert await log.heads([*heads, uuid4()]) == heads
    assert await log.heads([]) == {}


async def test_a_log_that_cannot_be_read_says_so_and_is_read_again_later(
    log: EventLog, session_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    with monkeypatch.context() as patched:
        patched.setattr(event_log, "read_page", fails)
        with pytest.raises(StorageUnavailable):
            await log.read(session_id, 0)
    assert (await log.read(session_id, 0)).events == []


# --- SQLite's write-ahead log ---


async def test_checkpoints_have_a_thread_of_their_own(
    log: EventLog, session_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def checkpoint() -> int:
        threads.append(threading.current_thread().name)
        return log_writing.checkpoint()

    monkeypatch.setattr(log_writer, "checkpoint", checkpoint)
    monkeypatch.setattr(log_writer, "_CHECKPOINT_CHANGES", 10)
    for _ in range(10):
        await log.append(session_id, [entry()])
    await until(lambda: threads)
    assert threads[0].startswith("event-log-checkpoint")


async def test_after_a_checkpoint_that_failed_there_are_others(
    log: EventLog, session_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def fails() -> int:
        begun.append(1)
        raise InterfaceError("closed in between")

    monkeypatch.setattr(log_writer, "checkpoint", fails)
    monkeypatch.setattr(log_writer, "_CHECKPOINT_CHANGES", 1)
    async with asyncio.timeout(10):
        while len(begun) < 3:
            await log.append(session_id, [entry()])


async def test_the_write_ahead_log_stays_bounded_under_writers_that_never_pause(
    log: EventLog, sqlite_only: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames: list[int] = []

    def checkpoint() -> int:
        frames.append(log_writing.checkpoint())
        return frames[-1]

    monkeypatch.setattr(log_writer, "checkpoint", checkpoint)
    monkeypatch.setattr(log_writer, "_CHECKPOINT_CHANGES", 100)
    monkeypatch.setattr(log_writer, "_WAL_FRAMES", 300)

    async def write(session_id: UUID) -> int:
        count = 0
        while len(frames) < 100:
            await log.append(session_id, [entry("x" * 500)])
            count += 1
        return count

    written = sum(await asyncio.gather(*(write(uuid4()) for _ in range(20))))
    assert max(frames) > 300  # the bound was reached
    assert max(frames) < written  # each event makes about three; how many come within one checkpoint depends


# --- several logs ---


async def test_two_logs_that_lock_the_same_sessions_in_opposite_order_both_write(log: EventLog) -> None:
    """Units of work lock what they will; whoever waits too long for the other lets go of all, and tries again."""
    other, sessions = EventLog(lambda committed: None), [uuid4(), uuid4()]
    meeting = threading.Barrier(2)

    def both(order: list[UUID]) -> Callable[[LogTransaction], None]:
        def work(inside: LogTransaction) -> None:
            inside.append(order[0], entry())
            with suppress(threading.BrokenBarrierError):
                meeting.wait(0.3)  # SQLite lets only one of them come so far
            inside.append(order[1], entry())

        return work

    async with asyncio.timeout(10):
        await asyncio.gather(log.transaction(both(sessions)), other.transaction(both(sessions[::-1])))
    assert await log.heads(sessions) == dict.fromkeys(sessions, 2)
    await other.aclose()


def test_logs_of_two_event_loops_write_to_one_session_without_disturbing_each_other(transactional_db: None) -> None:
    shared, lasts, errors = uuid4(), list[int | None](), list[BaseException]()

    async def scenario() -> None:
        log = EventLog(lambda committed: None)
        own = uuid4()
        for number in range(50):
            lasts.append(await log.append(shared, [entry(), entry()]))
            assert await log.append(own, [entry()]) == number + 1
        await log.aclose()

    def run() -> None:
        try:
            asyncio.run(scenario())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(last for last in lasts if last) == list(range(2, 301, 2))
    seqs = list(StoredEvent.objects.filter(session_id=shared).order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, 301))
