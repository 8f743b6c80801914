"""What a dead process left is ended by another, once; and who wakes up too late is refused."""

import asyncio
import os
import threading
import time
from functools import partial
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from pytest_django.fixtures import Settings

from chat import leases, registry, turns, wire
from chat.models import Lease, Stream
from chat.stream_log import log_end
from chat.stream_state import EndReason, StreamState
from chat.threads import in_thread
from chat.turns import Accepted, Outcome
from events import bus
from events.exceptions import StorageUnavailable
from events.log_transaction import Entry, LogTransaction
from tests.chat.conftest import Logs
from tests.chat.conversation import FOREVER, SHORT, SILENT, Conversation, busy_storage, ended, until
from tests.events.handed_in import handed_in

HERE = leases._host()
NOBODY = 2**22 + 1  # above what Linux gives out


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.02)
    monkeypatch.setattr(leases, "DEAD_SECONDS", 0.2)


async def foreign_lease(host: str = "elsewhere", pid: int = 1) -> UUID:
    lease = await in_thread(lambda: Lease.objects.create(host=host, pid=pid, started_ticks=1))
    return lease.id


async def accepted_elsewhere(talk: Conversation, lease_id: UUID, **options: str) -> Accepted:
    """A stream that another process runs: here it is known to the database only."""
    request = talk.request(SHORT, **options)
    return await bus.current().transaction(lambda log: turns.accept(log, request, lease_id))


async def say(accepted: Accepted, text: str) -> int | None:
    stream = accepted.stream
    assert stream.message_id is not None
    encode = wire.token_encoder(stream.id, stream.message_id)
    first = turns.first_token(stream, wire.status(stream, StreamState.STREAMING), 0.1)
    entries = [*first.entries, Entry(wire.TOKEN, encode(text), stream.id)]
    return await handed_in(bus.current().log, stream.session_id, entries, stream.turn, along=first.along)


async def leases_left() -> list[UUID]:
    return await in_thread(lambda: list(Lease.objects.values_list("id", flat=True)))


def ends(logs: Logs) -> list[tuple[object, object, object]]:
    lines = [line for line in logs if line["event"] == "stream_end"]
    return [(line["trace"], line["reason"], line["cleanup_done"]) for line in lines]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is dead for standing still."""
    monkeypatch.setattr(leases, "DEAD_SECONDS", 1e9)


async def test_who_starts_ends_at_once_what_its_predecessor_left(talk: Conversation, patient: None, logs: Logs) -> None:
    gone = await foreign_lease(HERE, NOBODY)
    lost = await accepted_elsewhere(talk, gone)
    waiting = await accepted_elsewhere(talk, gone, if_busy="enqueue")
    await say(lost, "what it had said")
    registry.current().start()
    for accepted in (lost, waiting):
        assert await talk.end_of(accepted) == "worker_lost"
        told = talk.history.of(accepted.stream.id)[-1]
        assert (told.type, told.data["retryable"]) == ("chat.error", True)
    stored = await talk.stored(lost)
    assert stored.message is not None
    assert (stored.message.text, stored.state) == ("what it had said", "failed")
    traces = [each.stream.trace_id.hex for each in (lost, waiting)]
    assert ends(logs) == [(trace, "worker_lost", True) for trace in traces]
    assert gone not in await leases_left()
    assert await talk.end_of(await talk.ask()) == "completed"


async def test_a_process_id_that_was_given_out_again_is_no_proof_of_life(talk: Conversation, patient: None) -> None:
    gone = await foreign_lease(HERE, os.getppid())
    lost = await accepted_elsewhere(talk, gone)
    registry.current().start()
    assert await talk.end_of(lost) == "worker_lost"


async def test_a_living_process_of_this_host_and_any_of_another_are_left_alone(talk: Conversation) -> None:
    ticks = await asyncio.to_thread(leases.process_ticks, os.getppid())
    alive = Lease(id=uuid4(), host=HERE, pid=os.getppid(), started_ticks=ticks)
    await in_thread(alive.save)
    elsewhere = await foreign_lease("another host", NOBODY)
    await registry.current().lease.held()
    assert {alive.id, elsewhere} < set(await leases_left())


async def test_a_counter_that_stands_still_is_a_dead_process(talk: Conversation, quick: None, logs: Logs) -> None:
    dead = await foreign_lease()
    lost = await accepted_elsewhere(talk, dead)
    registry.current().start()
    assert await talk.end_of(lost) == "worker_lost"
    assert ends(logs) == [(lost.stream.trace_id.hex, "worker_lost", True)]
    assert await leases_left() == [await registry.current().lease.held()]


async def test_slow_renewals_make_nobody_live_longer(
    talk: Conversation, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as they come: 1.2 s each, at a fifth of the real times."""
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.4)
    monkeypatch.setattr(leases, "DEAD_SECONDS", 1.2)
    real, slowly, times = leases._renew, threading.Event(), []

    def renew(lease_id: UUID, log: LogTransaction) -> leases.Renewal | None:
        times.append(time.monotonic())
        slowly.wait(0.24)
        return real(lease_id, log)

    monkeypatch.setattr(leases, "_renew", renew)
    lost = await accepted_elsewhere(talk, await foreign_lease())
    registry.current().start()
    assert await talk.end_of(lost) == "worker_lost"
    assert min(after - before for before, after in pairwise(times)) < 1.3 * leases.RENEW_SECONDS


async def test_a_counter_that_moves_is_a_living_one(talk: Conversation, quick: None) -> None:
    alive = await foreign_lease()
    accepted = await accepted_elsewhere(talk, alive)
    registry.current().start()
    observer = registry.current().lease
    for counter in range(1, 30):
        looked = observer._looked
        await bus.current().transaction(lambda log: Lease.objects.filter(id=alive).update(counter=counter))  # noqa: B023
        await until(lambda: observer._looked > looked)  # noqa: B023
    assert talk.history.end_of(accepted.stream.id) == ""
    assert await talk.end_of(accepted) == "worker_lost", "and once it stands still, a dead one"


async def test_who_could_not_look_declares_nobody_dead(talk: Conversation, quick: None) -> None:
    """The storage is away for longer than a process takes to be dead; the other one could not renew either."""
    other = await foreign_lease()
    observer = registry.current().lease
    observer.start()
    await until(lambda: other in observer._seen)
    with busy_storage():
        looked = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > looked + 2 * leases.DEAD_SECONDS)
    for _ in range(2):  # a look ends with what follows from it
        looked = observer._looked
        await until(lambda: observer._looked > looked)  # noqa: B023
    assert other in await leases_left()


async def test_a_writer_that_was_declared_dead_is_refused(talk: Conversation) -> None:
    """It slept, another ended its stream, and it wakes: not one event of it is seen any more."""
    accepted = await talk.ask_and_hear()
    lost = Outcome(EndReason.WORKER_LOST)
    last = await bus.current().transaction(partial(turns.end, stream_id=accepted.stream.id, outcome=lost, force=True))
    assert last is not None
    head = len(talk.history)
    await ended(accepted)
    assert await talk.end_of(accepted) == "worker_lost"
    assert [seen.type for seen in talk.history[head:]] in ([], ["chat.error"])
    assert await say(accepted, "too late") is None
    assert await talk.end_of(await talk.ask()) == "completed"


async def test_who_learns_that_it_was_declared_dead_stops_and_begins_anew(
    talk: Conversation, quick: None, logs: Logs
) -> None:
    accepted = await talk.ask_and_hear(SILENT.replace("=0", "=1"))
    waiting = await talk.ask(if_busy="enqueue")
    lease_id = await registry.current().lease.held()
    for stream in await bus.current().transaction(partial(leases._end_all, lease_id)):
        log_end(stream)
    await until(lambda: not registry.current().streams)
    assert {await talk.end_of(each) for each in (accepted, waiting)} == {"worker_lost"}
    assert len(ends(logs)) == 2, "once a stream, by whoever ended it"
    assert await registry.current().lease.held() != lease_id
    assert await talk.end_of(await talk.ask()) == "completed"


async def test_a_stop_that_nobody_was_told_of_is_read_with_the_renewal(talk: Conversation, quick: None) -> None:
    accepted = await talk.ask_and_hear(FOREVER)
    requested = partial(turns.request_stop, talk.session_id, None, EndReason.STOPPED)
    await bus.current().transaction(lambda log: requested())
    assert await talk.end_of(accepted) == "stopped"


async def test_what_this_process_should_run_but_does_not_is_ended(talk: Conversation, quick: None, logs: Logs) -> None:
    """Its commit was taken for failed, say: nobody else would ever end it, and its session would be busy for ever."""
    other = await Conversation.begin()
    runs = await other.ask_and_hear()
    stray = await accepted_elsewhere(talk, await registry.current().lease.held())
    await say(stray, "what it had said")
    assert await talk.end_of(stray) == "worker_lost"
    assert ends(logs) == [(stray.stream.trace_id.hex, "worker_lost", True)]
    stored = await talk.stored(stray)
    assert (stored.message and stored.message.text) == "what it had said"
    assert await talk.end_of(await talk.ask(if_busy="reject")) == "completed"
    assert other.history.end_of(runs.stream.id) == ""
    await other.leave()


async def test_a_stream_that_is_unfinished_at_one_renewal_only_is_not_lost(talk: Conversation) -> None:
    """The moment between a prompt's commit and its registration."""
    lease = registry.current().lease
    accepted = await accepted_elsewhere(talk, await lease.held())
    await lease._end_strays({accepted.stream.id})
    assert (await talk.stored(accepted)).state == "thinking"
    await lease._end_strays(set())
    await lease._end_strays({accepted.stream.id})
    assert (await talk.stored(accepted)).state == "thinking"
    await lease._end_strays({accepted.stream.id})
    assert await talk.end_of(accepted) == "worker_lost"


async def test_what_ended_elsewhere_unheard_stops_here(talk: Conversation, quick: None) -> None:
    """The model says nothing, so that no write would be refused."""
    accepted = await talk.ask(SILENT)
    lost = Outcome(EndReason.INTERRUPTED)
    await bus.current().transaction(partial(turns.end, stream_id=accepted.stream.id, outcome=lost, force=True))
    await until(lambda: not registry.current().streams)
    assert talk.history.of(accepted.stream.id).kinds() == ["thinking", "prompt", "end"]


async def test_a_lease_ends_with_its_process(talk: Conversation) -> None:
    await talk.end_of(await talk.ask())
    await registry.current().drain(1.0)
    assert await leases_left() == []
    assert await in_thread(Stream.objects.filter(lease=None).exists)


async def test_a_predecessor_that_cannot_be_ended_yet_keeps_nobody_from_vouching(
    talk: Conversation, quick: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = await foreign_lease(HERE, NOBODY)
    lost = await accepted_elsewhere(talk, gone)
    real, fails = leases._end_all, iter([True])

    def fails_once(lease_id: UUID, log: LogTransaction) -> list[Stream]:
        if next(fails, False):
            raise StorageUnavailable
        return real(lease_id, log)

    monkeypatch.setattr(leases, "_end_all", fails_once)
    assert await talk.end_of(await talk.ask(if_busy="enqueue")) == "completed"
    assert talk.history.end_of(lost.stream.id) == "worker_lost"
