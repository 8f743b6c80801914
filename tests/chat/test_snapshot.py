"""A snapshot at any seq, and the events after it, are the session as it stands (I5)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from chat.exceptions import SessionBusy
from chat.models import ChatSession, Message, Stream
from chat.newest import MAX_MESSAGES, newest
from chat.reading import _history
from chat.snapshot import MAX_BYTES, fold, read_before, read_snapshot
from chat.stream_state import StreamState
from chat.threads import in_thread
from tests.chat.conversation import FOREVER, SHORT, SILENT, Conversation, busy_storage
from tests.transcript import Transcript

Snapshots = dict[int, dict[str, Any]]
SCRIPTS = [SHORT, FOREVER, SILENT, "scripted:?tokens=9&rate=100", "scripted:?tokens=2&error_after=1", "no script"]


@asynccontextmanager
async def photographed(talk: Conversation) -> AsyncIterator[Snapshots]:
    """One snapshot after another, as quickly as they can be read: in effect one for each commit."""
    snapshots: Snapshots = {}

    async def photograph() -> None:
        while True:
            seq, snapshot = await in_thread(read_snapshot, talk.session_id)
            snapshots[seq] = snapshot

    task = asyncio.get_running_loop().create_task(photograph())
    try:
        yield snapshots
        await talk.until(lambda history: not set(snapshots) - {0, *(seen.seq for seen in history)})
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    seq, snapshots[seq] = await in_thread(read_snapshot, talk.session_id)
    await talk.until(lambda history: len(history) >= seq)


def check(talk: Conversation, snapshots: Snapshots) -> None:
    assert len(talk.history) == max(snapshots)
    for seq, snapshot in snapshots.items():
        transcript = Transcript(snapshot)
        for seen in talk.history[seq:]:
            transcript.take(seen)
            if seen.seq in snapshots:
                assert transcript.differences(Transcript(snapshots[seen.seq])) == [], f"from {seq} to {seen.seq}"


@pytest.mark.parametrize("seed", range(8))
async def test_a_snapshot_and_the_events_after_it_equal_any_later_snapshot(talk: Conversation, seed: int) -> None:
    random = Random(seed)
    async with photographed(talk) as snapshots:
        for _ in range(12):
            policy = random.choice(["interrupt", "interrupt", "enqueue", "enqueue", "enqueue", "rollback"])
            try:
                accepted = await talk.ask(random.choice(SCRIPTS), if_busy=policy)
            except SessionBusy:
                continue
            match random.choice(["go on", "go on", "hear", "stop", "stop it", "end"]):
                case "hear":
                    await talk.until(lambda history: history.of(accepted.stream.id))  # noqa: B023
                case "stop":
                    await talk.stop()
                case "stop it":
                    await talk.stop(accepted.stream.id)
                case "end" if accepted.begun:
                    await talk.stop(accepted.stream.id)
                    await talk.end_of(accepted)
        await talk.end_of(await talk.ask())
    assert len(snapshots) > 12
    check(talk, snapshots)
    assert talk.history.problems() == []


async def test_prompts_are_shown_in_the_order_of_their_turns(talk: Conversation) -> None:
    """One waits to interrupt and has not been shown yet, when a newer one is shown at once since it queues."""
    async with photographed(talk) as snapshots:
        await talk.ask_and_hear()
        with busy_storage():
            interrupting = asyncio.ensure_future(talk.ask())
            queueing = asyncio.ensure_future(talk.ask(if_busy="enqueue"))
            await asyncio.sleep(0)
        waited, last = await asyncio.gather(interrupting, queueing)
        assert await talk.end_of(last) == await talk.end_of(waited) == "completed"
    check(talk, snapshots)
    prompts = [seen.stream_id for seen in talk.history if seen.type == "chat.prompt"]
    assert prompts[1:] == [str(waited.stream.id), str(last.stream.id)]
    assert talk.history.of(waited.stream.id).kinds()[:3] == ["queued", "prompt", "thinking"]


async def test_what_a_rollback_leaves_between_is_linked_past_the_gap(talk: Conversation) -> None:
    async with photographed(talk) as snapshots:
        await talk.ask_and_hear()
        stopped = await talk.ask(if_busy="enqueue")
        await talk.stop(stopped.stream.id)
        await talk.end_of(stopped)
        await talk.end_of(await talk.ask(if_busy="rollback"))
    check(talk, snapshots)
    messages = await talk.messages()
    assert [message.parent_id for message in messages] == [None, *(message.id for message in messages[:-1])]


async def test_a_session_without_events_is_empty(talk: Conversation) -> None:
    assert await in_thread(read_snapshot, talk.session_id) == (0, {"messages": [], "active_stream": None})


# --- the pure part ---

SESSION = ChatSession(id=uuid4())


def message(text: str, role: str = "user", state: str = "completed") -> Message:
    return Message(session=SESSION, role=role, text=text, state=state, created_at=timezone.now())


def test_the_newest_messages_are_kept_up_to_a_size() -> None:
    large = [message("x" * (MAX_BYTES // 4)) for _ in range(6)]
    shown = fold(large, {}, {}, {})["messages"]
    assert [each["id"] for each in shown] == [str(each.id) for each in reversed(large[:4])]


def test_one_message_is_shown_however_large_it_is() -> None:
    assert len(fold([message("é" * MAX_BYTES), message("")], {}, {}, {})["messages"]) == 1


def test_an_active_streams_text_is_in_its_events() -> None:
    answer = message("", "assistant", "queued")
    stream = Stream(id=uuid4(), session=SESSION, message=answer, state=StreamState.STREAMING)
    texts = {stream.id: ["Hel", "lo"]}
    statuses = {stream.id: ['{"status":"thinking"}', '{"status":"streaming"}']}
    shown = fold([answer], {answer.id: stream}, texts, statuses)
    [said] = shown["messages"]
    assert (said["text"], said["state"], said["stream_id"]) == ("Hello", "streaming", str(stream.id))
    ids = {"stream_id": str(stream.id), "message_id": str(answer.id)}
    assert shown["active_stream"] == {**ids, "status": "streaming"}


async def test_a_snapshot_holds_the_newest_messages(talk: Conversation) -> None:
    many = [
        Message(session_id=talk.session_id, position=position, role="user", text=str(position), seq=1)
        for position in range(MAX_MESSAGES + 5)
    ]
    await in_thread(lambda: Message.objects.bulk_create(many))
    _, shown = await in_thread(read_snapshot, talk.session_id)
    assert [each["text"] for each in shown["messages"]] == [str(n) for n in range(5, MAX_MESSAGES + 5)]


async def stored(talk: Conversation, *texts: str) -> list[Message]:
    """Prompts and answers by turns; the oldest first."""
    roles = ["user", "assistant"]
    messages = [
        Message(session_id=talk.session_id, position=2 + number, role=roles[number % 2], text=text, seq=1)
        for number, text in enumerate(texts)
    ]
    return await in_thread(Message.objects.bulk_create, messages)


async def test_of_long_messages_no_more_are_read_than_are_shown(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = await stored(talk, *(["x" * (MAX_BYTES // 2)] * 20))
    read: list[int] = []

    def counted(messages: list[Message], *others: Any) -> dict[str, Any]:
        read.append(len(messages))
        return fold(messages, *others)

    monkeypatch.setattr("chat.snapshot.fold", counted)
    _, whole = await in_thread(read_snapshot, talk.session_id)
    _, older = await in_thread(read_before, talk.session_id, large[10].id)
    assert [each["id"] for each in whole["messages"]] == [str(each.id) for each in large[18:]]
    assert [each["id"] for each in older["messages"]] == [str(each.id) for each in large[8:10]]
    assert read == [2, 2]


async def test_a_turn_is_read_whole(talk: Conversation) -> None:
    """A model that is given an answer without its prompt may refuse it."""
    messages = await stored(talk, "left out", "left out", "prompt", "a long answer", "new prompt")
    fitting = await in_thread(newest, talk.session_id, 12)
    assert [each.id for each in fitting] == [each.id for each in messages[:1:-1]]


async def test_a_model_is_given_no_more_than_may_fit(talk: Conversation, settings: Settings) -> None:
    settings.CHAT_CONTEXT_TOKENS = 60
    await stored(talk, *(["x" * 400] * 20))
    history, _ = await in_thread(_history, Stream(session_id=talk.session_id, turn=10))
    assert len(history) == 3


async def test_older_messages_come_with_what_runs_now(talk: Conversation) -> None:
    first = await talk.ask()
    await talk.end_of(first)
    runs = await talk.ask_and_hear()
    assert runs.stream.prompt_id is not None
    seq, older = await in_thread(read_before, talk.session_id, runs.stream.prompt_id)
    assert [each["id"] for each in older["messages"]] == [str(first.stream.prompt_id), str(first.stream.message_id)]
    ids = {"stream_id": str(runs.stream.id), "message_id": str(runs.stream.message_id)}
    assert older["active_stream"] == {**ids, "status": "streaming"}
    assert seq >= 5
