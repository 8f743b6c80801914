"""What a second prompt does to the first: `interrupt`, `reject`, `enqueue`, `rollback`; and asking twice for one."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from pytest_django.fixtures import Settings

from chat import registry
from chat.exceptions import IdempotencyMismatch, Overloaded, SessionBusy, ShuttingDown
from chat.models import IdempotencyKey, Message, Stream
from chat.stream_state import EndReason
from chat.threads import in_thread
from chat.turns import Accepted
from tests.chat.conftest import Logs
from tests.chat.conversation import FOREVER, SHORT, SILENT, Conversation, busy_storage, ended, running, until
from tests.history import TERMINAL

POLICIES = ["interrupt", "reject", "enqueue", "rollback"]


def ids(accepted: Accepted) -> list[UUID]:
    stream = accepted.stream
    assert stream.prompt_id is not None
    assert stream.message_id is not None
    return [stream.prompt_id, stream.message_id]


def shown(messages: list[Message]) -> list[tuple[str, str, UUID | None]]:
    return [(message.role, message.state, message.parent_id) for message in messages]


def end_seqs(talk: Conversation) -> dict[str, int]:
    return {seen.stream_id: seen.seq or 0 for seen in talk.history if seen.type in TERMINAL}


@pytest.mark.parametrize("policy", POLICIES)
async def test_when_nothing_runs_every_policy_begins_at_once(talk: Conversation, policy: str) -> None:
    await talk.end_of(await talk.ask())
    accepted = await talk.ask(if_busy=policy)
    assert await talk.end_of(accepted) == "completed"
    assert talk.history.of(accepted.stream.id).kinds() == ["thinking", "prompt", "streaming", "token", "end"]
    assert len(await talk.messages()) == 4


async def test_reject_changes_nothing(talk: Conversation) -> None:
    first = await talk.ask_and_hear()
    with pytest.raises(SessionBusy):
        await talk.ask(if_busy="reject")
    assert len(await talk.messages()) == 2
    assert (await talk.stored(first)).stop_requested == ""
    third = await talk.ask(if_busy="interrupt")
    assert third.stream.turn == 2, "a refused prompt takes no turn"
    await talk.end_of(third)


async def test_prompts_in_the_queue_are_answered_in_the_order_of_their_turns(talk: Conversation) -> None:
    first = await talk.ask_and_hear()
    waiting = [await talk.ask(if_busy="enqueue") for _ in range(4)]
    positions = [seen.data["position"] for seen in talk.history if seen.status == "queued"]
    assert positions == [1, 2, 3, 4]
    await talk.stop(first.stream.id)
    for accepted in waiting:
        assert await talk.end_of(accepted) == "completed"
        kinds = talk.history.of(accepted.stream.id).kinds()
        assert kinds == ["queued", "prompt", "thinking", "streaming", "token", "end"]
    assert list(end_seqs(talk)) == [str(each.stream.id) for each in (first, *waiting)]
    assert talk.history.problems() == []


async def test_the_queue_has_a_limit(talk: Conversation, settings: Settings) -> None:
    settings.CHAT_QUEUE_LIMIT = 2
    await talk.ask_and_hear()
    waiting = [await talk.ask(if_busy="enqueue") for _ in range(2)]
    with pytest.raises(SessionBusy, match="CHAT_QUEUE_LIMIT"):
        await talk.ask(if_busy="enqueue")
    await talk.stop(waiting[0].stream.id)
    await talk.end_of(waiting[0])
    await talk.ask(if_busy="enqueue")


async def test_a_stopped_session_stops_what_waits_too(talk: Conversation) -> None:
    first = await talk.ask_and_hear()
    waiting = [await talk.ask(if_busy="enqueue") for _ in range(3)]
    assert await talk.stop()
    assert {await talk.end_of(each) for each in (first, *waiting)} == {"stopped"}


@pytest.mark.parametrize("policy", ["interrupt", "rollback"])
async def test_a_prompt_that_interrupts_ends_the_waiting_ones_unstarted(talk: Conversation, policy: str) -> None:
    first = await talk.ask_and_hear()
    waiting = [await talk.ask(if_busy="enqueue") for _ in range(3)]
    last = await talk.ask(if_busy=policy)
    assert await talk.end_of(last) == "completed"
    assert {talk.history.end_of(each.stream.id) for each in (first, *waiting)} == {"interrupted"}
    for each in waiting:
        assert (await talk.stored(each)).started_at is None
        assert talk.history.of(each.stream.id).kinds() == ["queued", "prompt", "end"]


async def test_prompts_that_overtake_each_other_end_in_order_each_with_its_prompt(talk: Conversation) -> None:
    """While the storage is busy many prompts gather behind one stream; only the newest begins."""
    first = await talk.ask_and_hear()
    with busy_storage():
        asking = [asyncio.ensure_future(talk.ask()) for _ in range(5)]
        await until(lambda: registry.current().accepting == 5)
    accepted = await asyncio.gather(*asking)
    assert await talk.end_of(accepted[-1]) == "completed"
    for each in accepted[:-1]:
        assert talk.history.of(each.stream.id).kinds() == ["prompt", "end"]
    assert list(end_seqs(talk)) == [str(each.stream.id) for each in (first, *accepted)]
    assert [message.text for message in await talk.messages() if message.role == "user"] == [FOREVER, *5 * [SHORT]]


async def test_a_rollback_removes_what_it_interrupts(talk: Conversation) -> None:
    kept = await talk.ask()
    await talk.end_of(kept)
    undone = await talk.ask_and_hear()
    newer = await talk.ask("scripted:?tokens=2&rate=0", if_busy="rollback")
    assert await talk.end_of(newer) == "completed"
    [removed] = [seen for seen in talk.history if seen.type == "chat.removed"]
    assert removed.data == {"message_ids": [str(id) for id in ids(undone)]}
    begun = next(seen.seq or 0 for seen in talk.history.of(newer.stream.id) if seen.status == "thinking")
    assert end_seqs(talk)[str(undone.stream.id)] < (removed.seq or 0) < begun
    messages = await talk.messages()
    assert [message.id for message in messages] == [*ids(kept), *ids(newer)]
    parents = [message.parent_id for message in messages]
    assert parents == [None, *(message.id for message in messages[:-1])], "linked past the gap"
    assert (await talk.stored(undone)).message is None


async def test_a_rollback_removes_waiting_prompts_and_prompts_that_never_began(talk: Conversation) -> None:
    undone = [await talk.ask_and_hear(), await talk.ask(if_busy="enqueue"), await talk.ask(if_busy="rollback")]
    last = await talk.ask(if_busy="rollback")
    assert await talk.end_of(last) == "completed"
    assert [message.id for message in await talk.messages()] == ids(last)
    removed = [id for seen in talk.history if seen.type == "chat.removed" for id in seen.data["message_ids"]]
    assert sorted(removed) == sorted(str(id) for each in undone for id in ids(each))
    assert shown(await talk.messages()) == [("user", "completed", None), ("assistant", "completed", ids(last)[0])]


async def test_a_rollback_keeps_an_answer_that_was_complete_when_it_came(talk: Conversation) -> None:
    first = await talk.ask("scripted:?tokens=3&rate=0")
    await ended(first)
    await talk.end_of(await talk.ask(if_busy="rollback"))
    assert len(await talk.messages()) == 4
    assert "removed" not in talk.history.kinds()


async def test_a_rollback_that_is_stopped_while_it_waits_has_still_removed(
    talk: Conversation, settings: Settings
) -> None:
    first = await talk.ask_and_hear()
    with busy_storage():
        asking = asyncio.ensure_future(talk.ask(FOREVER, if_busy="rollback"))
        await until(lambda: registry.current().accepting)
        stopping = asyncio.ensure_future(talk.stop())
        await asyncio.sleep(0)
    accepted = await asking
    assert await stopping
    assert await talk.end_of(accepted) == "stopped"
    assert talk.history.end_of(first.stream.id) == "interrupted"
    assert [message.id for message in await talk.messages()] == ids(accepted)


async def test_a_stream_that_does_not_end_in_time_is_ended_by_the_next(
    talk: Conversation, settings: Settings, monkeypatch: pytest.MonkeyPatch, logs: Logs
) -> None:
    """Both streams, and one that waited between them, are ended once, and said so once."""
    settings.CHAT_INTERRUPT_WAIT_SECONDS = 0.3
    deaf = await talk.ask_and_hear()
    waiting = await talk.ask(if_busy="enqueue")
    monkeypatch.setattr(running(deaf), "stop", lambda reason: False)
    last = await talk.ask()
    assert await talk.end_of(last) == "completed"
    assert list(talk.history.ends().items()) == [
        (str(deaf.stream.id), "interrupted"),
        (str(waiting.stream.id), "interrupted"),
        (str(last.stream.id), "completed"),
    ]
    await until(lambda: not registry.current().streams)
    ended = [line["trace"] for line in logs if line["event"] == "stream_end"]
    assert sorted(ended) == sorted(each.stream.trace_id.hex for each in (deaf, waiting, last))
    stored = await talk.stored(deaf)
    assert stored.message is not None
    assert stored.message.text == talk.history.text(deaf.stream.id)


# --- asking twice ---


async def test_the_same_key_gives_the_same_stream(talk: Conversation) -> None:
    named: dict[str, Any] = {"idempotency_key": "k", "body_digest": "d"}
    first = await talk.ask_and_hear(**named)
    second = await talk.ask(FOREVER, **named)
    assert (second.stream.id, second.seq, second.repeated) == (first.stream.id, first.seq, True)
    assert len(await talk.messages()) == 2
    assert (await talk.stored(first)).stop_requested == "", "a repeat interrupts nothing"
    with pytest.raises(IdempotencyMismatch):
        await talk.ask("another", idempotency_key="k", body_digest="e")
    other = await talk.ask(SILENT, idempotency_key="k", body_digest="e", caller_label="user:2")
    assert other.stream.id != first.stream.id, "a key belongs to its caller"


@pytest.mark.parametrize("policy", POLICIES)
async def test_two_at_once_with_one_key_are_one_prompt(talk: Conversation, policy: str) -> None:
    named: dict[str, Any] = {"idempotency_key": "k", "body_digest": "d", "if_busy": policy}
    both = await asyncio.gather(*(talk.ask(**named) for _ in range(5)))
    assert len({each.stream.id for each in both}) == 1
    assert [each.repeated for each in both].count(False) == 1
    assert await talk.end_of(both[0]) == "completed"
    assert await in_thread(Stream.objects.count) == await in_thread(IdempotencyKey.objects.count) == 1


async def test_a_refused_prompt_claims_no_key(talk: Conversation) -> None:
    named: dict[str, Any] = {"idempotency_key": "k", "body_digest": "d", "if_busy": "reject"}
    first = await talk.ask_and_hear()
    with pytest.raises(SessionBusy):
        await talk.ask(**named)
    running(first).stop(EndReason.STOPPED)
    await talk.end_of(first)
    assert not (await talk.ask(**named)).repeated


@pytest.mark.parametrize("state", ["full", "draining"])
async def test_asking_again_is_answered_by_a_process_that_takes_no_more_prompts(
    talk: Conversation, settings: Settings, state: str
) -> None:
    named: dict[str, Any] = {"idempotency_key": "k", "body_digest": "d"}
    first = await talk.ask_and_hear(**named)
    if state == "full":
        settings.CHAT_MAX_STREAMS = 1
    else:
        await registry.current().drain(0.1)
    again = await talk.ask(FOREVER, **named)
    assert (again.stream.id, again.seq, again.repeated) == (first.stream.id, first.seq, True)
    with pytest.raises(IdempotencyMismatch):
        await talk.ask("another", idempotency_key="k", body_digest="e")
    for key in ("", "other"):
        with pytest.raises(Overloaded if state == "full" else ShuttingDown):
            await talk.ask(idempotency_key=key, body_digest="d")
    assert len(await talk.messages()) == 2
