"""The transactions of a stream, one by one: they decide by what the database holds, whoever runs them."""

from functools import partial
from typing import TypeVar
from uuid import UUID, uuid4

import pytest

from chat import turns, wire
from chat.exceptions import NotFound
from chat.models import ChatSession, Message, Stream
from chat.stream_state import EndReason, StreamState
from chat.threads import in_thread
from chat.turns import Accepted, Begun, Outcome, TurnLost
from events import bus
from events.log_transaction import Append, Entry, LogTransaction
from tests.chat.conversation import SHORT, Conversation
from tests.events.handed_in import handed_in

T = TypeVar("T")
DONE = Outcome(EndReason.COMPLETED)


async def accept(talk: Conversation, text: str = SHORT, **options: str) -> Accepted:
    """Stored, but run by nobody."""
    request = talk.request(text, **options)
    return await bus.current().transaction(lambda log: turns.accept(log, request, None))


async def begin(accepted: Accepted, *, force: bool = False) -> Begun | None:
    return await bus.current().transaction(partial(turns.begin, stream_id=accepted.stream.id, force=force))


async def end(accepted: Accepted, outcome: Outcome = DONE, *entries: Entry, force: bool = False) -> Stream | None:
    return await bus.current().transaction(
        lambda log: turns.end(log, accepted.stream.id, outcome, entries, force=force)
    )


async def say(accepted: Accepted, text: str) -> int | None:
    """The seq of the text; None if the log has refused it."""
    stream = accepted.stream
    return await bus.current().log.append(stream.session_id, [token(accepted, text)], stream.turn)


async def speak(accepted: Accepted, *texts: str) -> int | None:
    """The first words of a stream."""
    stream = accepted.stream
    first = turns.first_token(stream, wire.status(stream, StreamState.STREAMING), 0.1)
    entries = [*first.entries, *(token(accepted, text) for text in texts)]
    return await handed_in(bus.current().log, stream.session_id, entries, stream.turn, along=first.along)


def token(accepted: Accepted, text: str) -> Entry:
    stream = accepted.stream
    assert stream.message_id is not None
    return Entry(wire.TOKEN, wire.token_encoder(stream.id, stream.message_id)(text), stream.id)


async def session_of(talk: Conversation) -> ChatSession:
    return await in_thread(lambda: ChatSession.objects.get(id=talk.session_id))


async def answers(talk: Conversation) -> list[tuple[str, str]]:
    return [(message.state, message.text) for message in await talk.messages() if message.role == "assistant"]


async def test_who_has_the_text_of_an_answer_spares_the_log_the_reading(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = await accept(talk)
    await speak(accepted, "Hello")
    monkeypatch.setattr(LogTransaction, "data_of", None)
    end = partial(turns.end, stream_id=accepted.stream.id, outcome=DONE, text="Hello")
    assert await bus.current().transaction(end) is not None
    assert await answers(talk) == [("completed", "Hello")]


async def test_a_stream_ends_once(talk: Conversation) -> None:
    accepted = await accept(talk)
    assert await end(accepted) is not None
    assert await end(accepted) is None
    assert await end(accepted, Outcome(EndReason.WORKER_LOST), force=True) is None
    assert (await talk.stored(accepted)).reason == "completed"


async def test_the_message_is_what_the_log_holds_the_last_text_included(talk: Conversation) -> None:
    accepted = await accept(talk)
    assert await speak(accepted, "one ", "two ")
    await end(accepted, DONE, token(accepted, "three"))
    assert await answers(talk) == [("completed", "one two three")]


async def test_after_its_end_a_stream_is_refused(talk: Conversation) -> None:
    accepted = await accept(talk)
    await end(accepted)
    assert await say(accepted, "too late") is None


async def test_who_was_ended_by_another_is_refused_and_its_message_says_why(talk: Conversation) -> None:
    accepted = await accept(talk)
    await speak(accepted, "seen")
    assert await end(accepted, Outcome(EndReason.WORKER_LOST), force=True)
    assert await say(accepted, "too late") is None
    [answer] = [message for message in await talk.messages() if message.role == "assistant"]
    assert (answer.state, answer.reason, answer.text) == ("failed", "worker_lost", "seen")


async def test_a_turn_begins_when_all_before_it_have_ended(talk: Conversation) -> None:
    first = await accept(talk)
    second = await accept(talk)
    assert (first.begun, second.begun) == (True, False)
    assert [before.id for before in second.before] == [first.stream.id]
    assert await begin(second) is None
    await end(first)
    begun = await begin(second)
    assert begun is not None
    assert begun.stream is not None
    assert (begun.stream.state, begun.ended) == ("thinking", [])


async def test_a_turn_that_is_forced_ends_those_before_it_with_their_text(talk: Conversation) -> None:
    first = await accept(talk)
    await speak(first, "seen")
    second = await accept(talk)
    begun = await begin(second, force=True)
    assert begun is not None
    assert [stream.id for stream in begun.ended] == [first.stream.id]
    assert await say(first, "unseen") is None
    assert await speak(second, "mine")
    assert (await answers(talk))[0] == ("interrupted", "seen")
    stored = await talk.stored(first)
    assert (stored.tokens, stored.batches, stored.text_bytes) == (None, 1, 4), "nobody here has counted its tokens"
    await talk.until(lambda history: history.end_of(first.stream.id))
    assert talk.history.of(first.stream.id)[-1].data["tokens"] is None
    with pytest.raises(TurnLost):
        await bus.current().transaction(lambda log: turns._begin(log, first.stream))


async def test_a_stream_told_to_stop_while_it_waited_ends_instead_of_beginning(talk: Conversation) -> None:
    first = await accept(talk)
    second = await accept(talk)
    third = await accept(talk)
    await end(first, Outcome(EndReason.INTERRUPTED))
    begun = await begin(second)
    assert begun is not None
    assert begun.stream is not None
    assert begun.stream.reason == "interrupted"
    assert [stream.id for stream in begun.ended] == [second.stream.id]
    begun = await begin(third)
    assert begun is not None
    assert begun.stream is not None
    assert begun.stream.reason == ""


async def test_beginning_what_has_ended_elsewhere_ends_nothing_again(talk: Conversation) -> None:
    await accept(talk)
    second = await accept(talk)
    await end(second, Outcome(EndReason.STOPPED))
    begun = await begin(second)
    assert begun is not None
    assert begun.stream is not None
    assert (begun.stream.reason, begun.ended) == ("stopped", [])


async def test_events_of_the_session_need_no_turn(talk: Conversation) -> None:
    await accept(talk)
    head = await bus.current().publish(talk.session_id, wire.SESSION, {"title": "new", "deleted": False})
    await talk.until(lambda history: history[-1].seq == head)


async def test_one_commit_carries_accepted_and_refused_appends(talk: Conversation) -> None:
    accepted = await accept(talk)
    other = uuid4()
    appends = [
        Append(talk.session_id, [token(accepted, "stale")], accepted.stream.turn - 1),
        Append(other, [Entry(wire.SESSION, "{}")], None),
    ]
    assert await bus.current().transaction(lambda log: log.append_all(appends)) == [None, 1]


async def test_the_first_reason_to_stop_stays(talk: Conversation) -> None:
    accepted = await accept(talk)

    def request(reason: EndReason, stream_id: UUID | None) -> list[UUID]:
        return turns.request_stop(talk.session_id, stream_id, reason)

    for reason, stream_id in ((EndReason.INTERRUPTED, None), (EndReason.STOPPED, accepted.stream.id)):
        found = await bus.current().transaction(lambda log: request(reason, stream_id))  # noqa: B023
        assert found == [accepted.stream.id]
    assert (await talk.stored(accepted)).stop_requested == "interrupted"
    assert await bus.current().transaction(lambda log: request(EndReason.STOPPED, uuid4())) == []


async def test_every_message_hangs_on_the_one_before(talk: Conversation) -> None:
    for _ in range(3):
        await end(await accept(talk))
    messages = await talk.messages()
    assert [message.parent_id for message in messages] == [None, *(message.id for message in messages[:-1])]
    assert [message.position for message in messages] == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("What is it?", "What is it?"),
        ("\n  First line \nsecond", "First line"),
        ("x" * 81, "x" * 79 + "…"),
        ("x" * 80, "x" * 80),
    ],
)
async def test_the_first_prompt_names_the_session(talk: Conversation, text: str, title: str) -> None:
    await end(await accept(talk, text))
    await accept(talk, "another")
    assert (await session_of(talk)).title == title


async def test_a_prompt_makes_its_session_the_newest(talk: Conversation) -> None:
    before = (await session_of(talk)).active_at
    await accept(talk)
    assert (await session_of(talk)).active_at > before


async def test_a_session_that_is_unknown_or_deleted_takes_no_prompt(talk: Conversation) -> None:
    await in_thread(lambda: ChatSession.objects.update(deleted_at="2020-01-01T00:00Z"))
    for session_id in (talk.session_id, uuid4()):
        talk.session_id = session_id
        with pytest.raises(NotFound):
            await accept(talk)
    assert not await in_thread(Message.objects.exists)
