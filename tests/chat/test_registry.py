"""A stream from its prompt to its end, whatever ends it."""

import asyncio
import threading
from collections import Counter
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from chat import leases, registry, sessions, turns
from chat.exceptions import NotFound, Overloaded, ShuttingDown
from chat.models import Stream
from chat.providers.base import ModelMessage
from chat.running_stream import STOP, RunningStream
from chat.stream_state import EndReason
from chat.threads import in_thread
from events import bus, log_writer
from events.event_log import READERS
from events.exceptions import StorageUnavailable
from events.gate import Gate
from events.groups import Signal, group_name
from tests.chat.conftest import Logs
from tests.chat.conversation import FOREVER, SHORT, SILENT, Conversation, busy_storage, running, until
from tests.corpus import plain_text, problems

BEGINS = ["thinking", "prompt", "streaming", "token"]


async def test_a_prompt_is_answered_and_what_is_stored_is_what_was_seen(talk: Conversation) -> None:
    accepted = await talk.ask("scripted:?tokens=50&rate=1000")
    assert await talk.end_of(accepted) == "completed"
    stored = await talk.stored(accepted)
    assert stored.message is not None
    assert stored.message.text == talk.history.text(accepted.stream.id) == plain_text(50)
    assert (stored.message.state, stored.message.reason, stored.state) == ("completed", "completed", "completed")
    assert talk.history.of(accepted.stream.id).kinds() == [*BEGINS, "end"]
    assert talk.history.problems() == []


async def test_the_first_events_are_durable_when_the_prompt_is_accepted(talk: Conversation) -> None:
    accepted = await talk.ask(SILENT)
    assert accepted.seq == 0
    page = await bus.current().log.read(talk.session_id, 0)
    assert [event.type for event in page.events] == ["chat.status", "chat.prompt"]


async def test_counts_and_times_are_stored_and_told(talk: Conversation) -> None:
    accepted = await talk.ask("scripted:?tokens=50&rate=1000")
    await talk.end_of(accepted)
    stored = await talk.stored(accepted)
    told = talk.history[-1].data
    assert told["tokens"] == stored.tokens == 50
    assert told["usage"]["completion_tokens"] == stored.completion_tokens == 50
    assert stored.text_bytes == len(plain_text(50).encode())
    assert stored.batches == sum(seen.type == "chat.token" for seen in talk.history)
    assert told["duration_seconds"] == stored.duration_seconds >= stored.first_token_seconds  # type: ignore[operator]
    assert told["first_token_seconds"] == stored.first_token_seconds > 0  # type: ignore[operator]


async def test_a_running_stream_holds_neither_its_session_nor_any_message(talk: Conversation) -> None:
    relations: list[Any] = [Stream._meta.get_field(name) for name in ("session", "prompt", "message")]
    for accepted in (await talk.ask_and_hear(), await talk.ask_and_hear()):  # one that began at once, one that waited
        held = [accepted.stream, *accepted.before]
    held.append(running(accepted).stream)
    assert len(held) == 3
    assert not [(each, relation.name) for each in held for relation in relations if relation.is_cached(each)]


async def test_a_new_prompt_interrupts_and_what_was_seen_is_kept(talk: Conversation) -> None:
    first = await talk.ask_and_hear()
    second = await talk.ask()
    assert await talk.end_of(second) == "completed"
    assert talk.history.end_of(first.stream.id) == "interrupted"
    stored = await talk.stored(first)
    assert stored.message is not None
    assert problems(stored.message.text) == []
    assert stored.message.text == talk.history.text(first.stream.id)
    assert talk.history.of(second.stream.id).kinds() == [*BEGINS, "end"]


async def test_a_prompt_before_the_first_token_interrupts_too(talk: Conversation) -> None:
    first = await talk.ask(SILENT)
    second = await talk.ask()
    assert await talk.end_of(second) == "completed"
    assert talk.history.of(first.stream.id).kinds() == ["thinking", "prompt", "end"]


async def test_stop_before_the_first_token(talk: Conversation) -> None:
    accepted = await talk.ask(SILENT)
    assert await talk.stop()
    assert await talk.end_of(accepted) == "stopped"
    assert not await talk.stop()


async def test_stop_before_the_model_is_asked(talk: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = bus.current().hub
    join = hub.join

    async def stop_and_join(stream: RunningStream) -> None:
        stream.stop(EndReason.STOPPED)
        await join(stream)

    monkeypatch.setattr(hub, "join", stop_and_join)
    accepted = await talk.ask(FOREVER)
    assert await talk.end_of(accepted) == "stopped"
    assert talk.history.kinds() == ["thinking", "prompt", "end"]


@pytest.mark.parametrize("prompt", [SILENT, FOREVER])
async def test_a_stop_from_elsewhere_that_came_before_anybody_listened_is_found_before_the_model_is_asked(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch, prompt: str
) -> None:
    hub = bus.current().hub
    await hub.layer.group_add("somebody", "elsewhere")  # a process that is alone reads nothing
    join = hub.join

    async def stop_elsewhere_and_join(stream: RunningStream) -> None:
        await bus.current().transaction(lambda log: turns.request_stop(talk.session_id, None, EndReason.STOPPED))
        await join(stream)

    monkeypatch.setattr(leases, "RENEW_SECONDS", 1e9)
    monkeypatch.setattr(hub, "join", stop_elsewhere_and_join)
    try:
        accepted = await talk.ask(prompt)
        assert await talk.end_of(accepted) == "stopped"
        assert talk.history.kinds() == ["thinking", "prompt", "end"]
    finally:
        await hub.layer.group_discard("somebody", "elsewhere")


async def test_a_first_prompt_needs_no_reading_where_nobody_else_can_have_stopped_it(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def reading(stream: Stream) -> tuple[list[ModelMessage], str]:
        read.append(stream.turn)
        return [ModelMessage("user", "scripted:?tokens=2&rate=0")], ""

    monkeypatch.setattr("chat.reading._history", reading)
    for _ in range(2):
        assert await talk.end_of(await talk.ask()) == "completed"
    assert read == [2], "the second prompt, which has a history"


async def test_who_waits_to_end_ends_when_the_process_does(talk: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(1, 1e6)
    monkeypatch.setattr(bus.current(), "ends", gate)
    async with gate.entered():
        accepted = await talk.ask()
        running = registry.current().streams[accepted.stream.id]
        async with asyncio.timeout(10):
            while not running._ending:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert "end" not in talk.history.kinds()
        await registry.current().drain(5)
    assert await talk.end_of(accepted) == "completed"


@pytest.mark.parametrize("reason", ["stopped", "interrupted"])
async def test_an_end_that_somebody_waits_for_does_not_wait_behind_others(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    gate = Gate(1, 1e6)
    monkeypatch.setattr(bus.current(), "ends", gate)
    async with gate.entered():
        accepted = await talk.ask_and_hear()
        if reason == "stopped":
            assert await talk.stop(accepted.stream.id)
        else:
            await talk.ask()
        async with asyncio.timeout(10):
            assert await talk.end_of(accepted) == reason


async def test_stop_in_mid_stream_keeps_every_token_that_came(talk: Conversation) -> None:
    accepted = await talk.ask_and_hear()
    assert await talk.stop(accepted.stream.id)
    assert await talk.end_of(accepted) == "stopped"
    stored = await talk.stored(accepted)
    assert stored.message is not None
    assert stored.message.text == talk.history.text(accepted.stream.id)
    assert problems(stored.message.text, stored.tokens) == []


async def test_an_answer_that_is_complete_is_not_stopped_any_more(talk: Conversation, logs: Logs) -> None:
    accepted = await talk.ask_and_hear("scripted:?tokens=5&rate=50")
    stream, stopped = running(accepted), list[bool]()
    assert stream._reading is not None
    stream._reading.add_done_callback(lambda _: stopped.append(stream.stop(EndReason.STOPPED)))
    assert await talk.end_of(accepted) == "completed"
    assert stopped == [False]
    assert "stream_cancelled" not in [line["event"] for line in logs]


async def test_who_stops_a_stream_that_has_come_to_its_end_is_told_so(talk: Conversation) -> None:
    accepted = await talk.ask_and_hear("scripted:?tokens=5&rate=50")
    with busy_storage():
        stopping = asyncio.ensure_future(talk.stop())
        await until(lambda: running(accepted)._ending)
    assert not await stopping
    assert await talk.end_of(accepted) == "completed"


@pytest.mark.parametrize("data", ["", "stopped", "because {}", "{}"])
async def test_a_signal_that_makes_no_sense_stops_nothing(talk: Conversation, data: str) -> None:
    accepted = await talk.ask("scripted:?tokens=5&rate=50")
    running(accepted).on_signal(Signal(STOP, data.format(accepted.stream.id.hex)))
    assert await talk.end_of(accepted) == "completed"


async def test_a_waiting_prompt_is_stopped_at_once(talk: Conversation) -> None:
    first = await talk.ask_and_hear()
    waiting = await talk.ask(if_busy="enqueue")
    assert await talk.stop(waiting.stream.id)
    assert await talk.end_of(waiting) == "stopped"
    assert talk.history.end_of(first.stream.id) == ""
    assert talk.history.of(waiting.stream.id).kinds() == ["queued", "prompt", "end"]


async def test_who_asked_and_left_stops_the_stream(talk: Conversation) -> None:
    accepted = await talk.ask_and_hear()
    registry.current().tell_to_stop(talk.session_id, [accepted.stream.id], EndReason.DISCONNECTED)
    assert await talk.end_of(accepted) == "disconnected"
    assert (await talk.stored(accepted)).state == "stopped"


@pytest.mark.parametrize("count", [2, 3, 8, 20])
async def test_prompts_of_the_same_instant_end_in_order_and_the_last_is_answered(
    talk: Conversation, count: int
) -> None:
    accepted = await asyncio.gather(*(talk.ask("scripted:?tokens=50&rate=100") for _ in range(count)))
    last = max(accepted, key=lambda each: each.stream.turn)
    assert await talk.end_of(last) == "completed"
    others = [each for each in accepted if each is not last]
    assert {talk.history.end_of(each.stream.id) for each in others} == {"interrupted"}
    assert [each.stream.turn for each in sorted(accepted, key=lambda each: each.stream.turn)] == [*range(1, count + 1)]
    assert talk.history.problems() == []


async def test_the_answer_of_a_caller_who_left_in_the_queue_is_not_given(talk: Conversation) -> None:
    """The prompt is stored after its caller has gone: it must not run on for nobody."""
    with busy_storage():
        asking = asyncio.ensure_future(talk.ask(FOREVER, on_disconnect="cancel"))
        await until(lambda: registry.current().accepting)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await talk.until(lambda history: history.ends())
    assert [*talk.history.ends().values()] == ["disconnected"]
    await until(lambda: not registry.current().streams)


async def test_the_answer_of_a_caller_who_left_on_purpose_is_given(talk: Conversation) -> None:
    with busy_storage():
        asking = asyncio.ensure_future(talk.ask(SHORT, on_disconnect="continue"))
        await until(lambda: registry.current().accepting)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await talk.until(lambda history: history.ends())
    assert [*talk.history.ends().values()] == ["completed"]


async def test_a_prompt_that_is_stored_after_its_caller_was_told_otherwise_begins_and_is_ended(
    talk: Conversation, logs: Logs, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept, stored = turns.accept, threading.Event()
    first = await talk.ask()
    await talk.end_of(first)

    def takes_long(*arguments: Any) -> turns.Accepted:
        assert stored.wait(30)
        return accept(*arguments)

    monkeypatch.setattr(turns, "accept", takes_long)
    monkeypatch.setattr(log_writer, "_DOUBT_SECONDS", 0.0)
    settings.EVENTS_STORAGE_TIMEOUT_SECONDS = 0.05
    try:
        with pytest.raises(StorageUnavailable):
            await talk.ask(FOREVER)
        assert registry.current().accepting
    finally:
        settings.EVENTS_STORAGE_TIMEOUT_SECONDS = 10.0
        stored.set()
    await talk.until(lambda history: len(history.ends()) == 2)
    await until(lambda: not registry.current().streams)
    assert [*talk.history.ends().values()] == ["completed", "disconnected"]
    lines = [line["event"] for line in logs if line["event"] in ("stream_start", "stream_end")]
    assert lines == ["stream_start", "stream_end"] * 2


async def test_more_streams_than_the_process_may_run_are_refused(talk: Conversation, settings: Settings) -> None:
    settings.CHAT_MAX_STREAMS = 2
    others = [await Conversation.begin() for _ in range(3)]
    with busy_storage():
        asking = [asyncio.ensure_future(other.ask(SILENT)) for other in others]
        await until(lambda: any(ask.done() for ask in asking))
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert sorted(isinstance(answer, Overloaded) for answer in answers) == [False, False, True]
    for other in others:
        await other.stop()
    await until(lambda: not registry.current().streams)
    assert await talk.end_of(await talk.ask()) == "completed"
    for other in others:
        await other.leave()


async def test_draining_lets_streams_finish_and_then_ends_them(talk: Conversation) -> None:
    other = await Conversation.begin()
    short = await talk.ask("scripted:?tokens=5&rate=50")
    long = await other.ask_and_hear()
    await registry.current().drain(1.0)
    assert await talk.end_of(short) == "completed"
    assert await other.end_of(long) == "shutdown"
    with pytest.raises(ShuttingDown):
        await talk.ask()
    assert not registry.current().streams
    await other.leave()


async def test_what_cannot_be_stored_while_draining_takes_no_time_from_what_comes_after(talk: Conversation) -> None:
    accepted = await talk.ask_and_hear()
    with busy_storage():
        async with asyncio.timeout(2.0):
            await registry.current().drain(2.0)
        assert talk.history.end_of(accepted.stream.id) == ""


async def test_a_stream_that_is_cut_off_in_the_middle_leaves_no_task_behind(talk: Conversation) -> None:
    await talk.end_of(await talk.ask())
    before = asyncio.all_tasks()
    accepted = await talk.ask_and_hear()
    [task] = (each for each in asyncio.all_tasks() if each.get_name() == str(accepted.stream.id))
    task.cancel()
    await until(lambda: not registry.current().streams and asyncio.all_tasks() <= before)


@pytest.mark.parametrize("grace_seconds", [0.5, 1.1], ids=["at the last moment", "in time"])
async def test_a_prompt_accepted_while_the_process_drains_is_ended_with_it(
    talk: Conversation, grace_seconds: float
) -> None:
    with busy_storage():
        asking = asyncio.ensure_future(talk.ask(FOREVER))
        await until(lambda: registry.current().accepting)
        draining = asyncio.ensure_future(registry.current().drain(grace_seconds))
        await until(lambda: registry.current()._ending or grace_seconds > 1)
    accepted = await asking
    await draining
    assert await talk.end_of(accepted) == "shutdown"


async def test_a_session_that_is_deleted_ends_its_stream_first(talk: Conversation) -> None:
    accepted = await talk.ask_and_hear()
    await sessions.delete(talk.session_id)
    await talk.until(lambda history: history[-1].type == "chat.session")
    assert talk.history.end_of(accepted.stream.id) == "stopped"
    assert talk.history[-1].data["deleted"] is True
    with pytest.raises(NotFound):
        await talk.ask()
    with pytest.raises(NotFound):
        await sessions.delete(talk.session_id)


async def test_a_session_is_deleted_for_all_viewers_even_if_its_caller_leaves(talk: Conversation) -> None:
    await talk.ask_and_hear()
    with busy_storage():
        deleting = asyncio.ensure_future(sessions.delete(talk.session_id))
        await asyncio.sleep(0)
        deleting.cancel()
        await asyncio.gather(deleting, return_exceptions=True)
    await talk.until(lambda history: history[-1].type == "chat.session")


# Their threads start as they are needed, and stay.
POOLS = Counter({"chat-database": 4, "event-log-reader": READERS, "event-log-writer": 1, "event-log-checkpoint": 1})


def threads_by_name() -> Counter[str]:
    return Counter(thread.name.rpartition("_")[0] or thread.name for thread in threading.enumerate())


async def test_a_hundred_pairs_of_prompts_leave_nothing_behind(talk: Conversation) -> None:
    await talk.end_of(await talk.ask())
    loop_tasks, threads = len(asyncio.all_tasks()), threads_by_name()
    hub, streams = bus.current().hub, registry.current().streams
    for _ in range(100):
        other = await Conversation.begin()
        first, second = await asyncio.gather(other.ask(FOREVER), other.ask(SHORT))
        last = max(first, second, key=lambda each: each.stream.turn)
        if last is first:
            await other.stop()
        await asyncio.gather(other.end_of(first), other.end_of(second))
        assert other.history.problems() == []
        await other.leave()
    await until(lambda: not streams and list(hub.layer.groups) == [group_name(talk.session_id)])
    known = hub.membership
    assert {*hub.listeners, *known._joined, *known._asked, *known._settling} == {talk.session_id}
    await until(lambda: len(asyncio.all_tasks()) <= loop_tasks)
    assert threads_by_name() <= threads | POOLS, "and so no connection either: each has one at most"
    unfinished = await in_thread(lambda: Stream.objects.filter(reason="").count())
    assert unfinished == 0
