"""Events → state, the page's one rule, run in Chromium and judged here."""

import random
from typing import Any

import pytest
from playwright.async_api import Page

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]

Event = dict[str, Any]
FOLD = "(events) => import('/static/chat/js/core/reducer.js').then((module) => module.fold(events))"
S1 = {"stream_id": "s1", "message_id": "a1"}
THINKING: Event = {"type": "chat.status", "seq": 1, "data": {**S1, "status": "thinking"}}
PROMPT: Event = {
    "type": "chat.prompt",
    "seq": 2,
    "data": {"stream_id": "s1", "message_id": "p1", "role": "user", "text": "Q"},
}
SENDING: Event = {"type": "local.sending", "data": {"key": "k", "text": "Q"}}
ACCEPTED: Event = {"type": "local.accepted", "data": {"key": "k", "prompt_id": "p1", **S1, "seq": 0}}


def token(seq: int, text: str) -> Event:
    return {"type": "chat.token", "seq": seq, "data": {**S1, "text": text}}


def end(seq: int, reason: str = "completed") -> Event:
    return {"type": "chat.end", "seq": seq, "data": {**S1, "reason": reason, "tokens": 2, "duration_seconds": 1.0}}


def snapshot(seq: int, *messages: Event, **more: Any) -> Event:
    return {"type": "snapshot", "seq": seq, "data": {"messages": list(messages), "active_stream": None, **more}}


EMPTY = snapshot(0)


async def fold(modules: Page, *events: Event) -> dict[str, Any]:
    state: dict[str, Any] = await modules.evaluate(FOLD, list(events))
    return state


def shown(state: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(message["role"], message["text"], message["state"]) for message in state["messages"]]


async def test_a_whole_stream(modules: Page) -> None:
    state = await fold(modules, EMPTY, THINKING, PROMPT, token(3, "Hel"), token(4, "lo"), end(5))
    assert shown(state) == [("user", "Q", "completed"), ("assistant", "Hello", "completed")]
    assert state["seq"] == 5


async def test_what_was_seen_already_is_ignored(modules: Page) -> None:
    state = await fold(modules, EMPTY, THINKING, PROMPT, token(3, "Hel"), PROMPT, token(3, "Hel"), token(4, "lo"))
    assert shown(state)[1] == ("assistant", "Hello", "streaming")


async def test_unknown_types_and_pings_change_nothing(modules: Page) -> None:
    events = [EMPTY, THINKING, PROMPT]
    before = await fold(modules, *events)
    after = await fold(
        modules, *events, {"type": "chat.novelty", "seq": 3, "data": {}}, {"type": "ping", "data": {"seq": 3}}
    )
    assert shown(after) == shown(before)
    assert after["seq"] == 3


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("completed", "completed"),
        ("length", "completed"),
        ("stopped", "stopped"),
        ("disconnected", "stopped"),
        ("shutdown", "stopped"),
        ("interrupted", "interrupted"),
    ],
)
async def test_every_reason_ends_in_its_state(modules: Page, reason: str, state: str) -> None:
    assert shown(await fold(modules, EMPTY, THINKING, PROMPT, token(3, "x"), end(4, reason)))[1][2] == state


async def test_an_error_keeps_the_text_and_says_whether_to_try_again(modules: Page) -> None:
    data = {**S1, "code": "provider_error", "message": "It broke.", "retryable": False}
    state = await fold(
        modules, EMPTY, THINKING, PROMPT, token(3, "half"), {"type": "chat.error", "seq": 4, "data": data}
    )
    answer = state["messages"][1]
    assert (answer["state"], answer["text"], answer["reason"]) == ("failed", "half", "provider_error")
    assert answer["error"] == {"message": "It broke.", "retryable": False}


async def test_nothing_follows_an_end(modules: Page) -> None:
    stray = {"type": "chat.status", "seq": 6, "data": {**S1, "status": "thinking"}}
    state = await fold(modules, EMPTY, THINKING, PROMPT, end(3), token(4, "late"), stray, end(7, "stopped"))
    assert shown(state)[1] == ("assistant", "", "completed")


async def test_stopping_lasts_until_the_server_says_how_it_ended(modules: Page) -> None:
    stopping = {"type": "local.stopping", "data": {"message_id": "a1"}}
    events = [EMPTY, THINKING, PROMPT, stopping, token(3, "still")]
    assert shown(await fold(modules, *events))[1] == ("assistant", "still", "stopping")
    assert shown(await fold(modules, *events, end(4, "stopped")))[1] == ("assistant", "still", "stopped")


async def test_a_queued_prompt_waits_and_then_thinks(modules: Page) -> None:
    queued = {"type": "chat.status", "seq": 1, "data": {**S1, "status": "queued", "position": 2}}
    state = await fold(modules, EMPTY, queued, PROMPT)
    assert (state["messages"][1]["state"], state["messages"][1]["position"]) == ("queued", 2)
    thinking = {**THINKING, "seq": 3}
    assert shown(await fold(modules, EMPTY, queued, PROMPT, thinking))[1] == ("assistant", "", "thinking")


async def test_removed_messages_are_gone(modules: Page) -> None:
    removed = {"type": "chat.removed", "seq": 4, "data": {"message_ids": ["p1", "a1"]}}
    assert shown(await fold(modules, EMPTY, THINKING, PROMPT, end(3, "interrupted"), removed)) == []


async def test_a_reset_snapshot_replaces_everything_its_lower_seq_too(modules: Page) -> None:
    old = {"id": "m", "role": "user", "text": "other", "state": "completed"}
    state = await fold(modules, EMPTY, THINKING, PROMPT, token(9, "x"), snapshot(2, old, reset=True), token(3, "y"))
    assert state["seq"] == 3
    assert shown(state) == [("user", "other", "completed"), ("assistant", "y", "streaming")]


async def test_a_prompt_on_its_way_is_shown_once_in_whatever_order_it_is_confirmed(modules: Page) -> None:
    rest = [token(3, "A"), end(4)]
    expected = [("user", "Q", "completed"), ("assistant", "A", "completed")]
    for order in (
        [EMPTY, SENDING, ACCEPTED, THINKING, PROMPT, *rest],
        [EMPTY, SENDING, THINKING, ACCEPTED, PROMPT, *rest],
        [EMPTY, SENDING, THINKING, PROMPT, ACCEPTED, *rest],
        [EMPTY, SENDING, THINKING, PROMPT, *rest, ACCEPTED],
        [SENDING, ACCEPTED, EMPTY, THINKING, PROMPT, *rest],
        [SENDING, EMPTY, THINKING, PROMPT, ACCEPTED, *rest],
    ):
        assert shown(await fold(modules, *order)) == expected, [event["type"] for event in order]


def stream(number: int, first_seq: int) -> tuple[list[Event], list[Event]]:
    """What the log tells of a stream; and what the page tells itself of its prompt: on its way, accepted."""
    ids = {"stream_id": f"s{number}", "message_id": f"a{number}"}
    prompt = {"stream_id": f"s{number}", "message_id": f"p{number}", "role": "user", "text": f"Q{number}"}
    log: list[Event] = [
        {"type": "chat.status", "seq": first_seq, "data": {**ids, "status": "thinking"}},
        {"type": "chat.prompt", "seq": first_seq + 1, "data": prompt},
        {"type": "chat.token", "seq": first_seq + 2, "data": {**ids, "text": f"A{number}"}},
        {"type": "chat.end", "seq": first_seq + 3, "data": {**ids, "reason": "completed", "tokens": 1}},
    ]
    accepted = {"key": f"k{number}", "prompt_id": f"p{number}", **ids, "seq": first_seq - 1}
    return log, [
        {"type": "local.sending", "data": {"key": f"k{number}", "text": f"Q{number}"}},
        {"type": "local.accepted", "data": accepted},
    ]


@pytest.mark.parametrize("seed", range(60))
async def test_the_messages_stand_as_the_log_has_them_whatever_is_on_its_way(modules: Page, seed: int) -> None:
    """Two prompts of this page, the second sent once the first is accepted; another's between, before or after."""
    chance = random.Random(seed)
    order = [1, 2]
    order.insert(chance.randrange(3), 3)
    first, second, other = (stream(number, 1 + 4 * order.index(number)) for number in (1, 2, 3))
    log = [event for number in order for event in (first, second, other)[number - 1][0]]
    before = {id(first[0][0]): [first[1][0]], id(second[0][0]): [first[1][1], second[1][0]]}
    own = [first[1][0], *chance.sample([first[1][1], second[1][0]], 2), second[1][1]]
    events: list[Event] = [EMPTY]
    while log or own:
        may_log = log and all(event in events for event in before.get(id(log[0]), []))
        if may_log and (not own or chance.random() < 0.6):
            events.append(log.pop(0))
        else:
            events.append(own.pop(0))
    assert [text for _, text, _ in shown(await fold(modules, *events))] == [
        f"{letter}{number}" for number in order for letter in "QA"
    ]


async def test_a_snapshot_that_knows_the_prompt_already_does_not_double_it(modules: Page) -> None:
    told = [
        {"id": "p1", "role": "user", "text": "Q", "state": "completed"},
        {"id": "a1", "role": "assistant", "text": "A", "state": "streaming", "stream_id": "s1"},
    ]
    for order in ([SENDING, snapshot(3, *told), ACCEPTED], [SENDING, ACCEPTED, snapshot(3, *told)]):
        assert shown(await fold(modules, *order)) == [("user", "Q", "completed"), ("assistant", "A", "streaming")]


async def test_a_refused_prompt_leaves_no_trace(modules: Page) -> None:
    assert shown(await fold(modules, EMPTY, SENDING, {"type": "local.refused", "data": {"key": "k"}})) == []


async def test_a_snapshot_at_any_seq_and_the_rest_give_the_same_as_all_events(modules: Page) -> None:
    log = [THINKING, PROMPT, token(3, "one "), token(4, "two "), token(5, "three"), end(6)]
    whole = await fold(modules, EMPTY, *log)
    for seq in range(len(log) + 1):
        until = await fold(modules, EMPTY, *log[:seq])
        joined = await fold(modules, snapshot(seq, *until["messages"]), *log)
        assert shown(joined) == shown(whole), seq


async def test_frames_are_decoded_alike_in_any_chunks(modules: Page) -> None:
    text = (
        ": hello\nretry: 1000\n\nid: 1\nevent: a\ndata: x\n\n"
        "data: y\r\ndata: z\r\n\r\nid: 2\revent: b\rdata:\r\revent: none\n\ndata: cut"
    )
    expected = [
        {"type": "a", "data": "x", "id": "1"},
        {"type": "message", "data": "y\nz", "id": None},
        {"type": "b", "data": "", "id": "2"},
    ]
    decode = """(chunks) => import('/static/chat/js/core/sse.js').then(({ SseDecoder }) => {
      const decoder = new SseDecoder();
      return chunks.flatMap((chunk) => decoder.feed(chunk));
    })"""
    for seed in range(30):
        cuts = sorted(random.Random(seed).sample(range(len(text)), 12))
        chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert await modules.evaluate(decode, chunks) == expected, (seed, chunks)
