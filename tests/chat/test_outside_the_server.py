"""What the admin's threads, a heartbeat and a late repeat may meet."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from chat import consumers, streams
from chat.callers import Caller
from chat.consumers import SessionEvents
from chat.models import Stream
from chat.threads import in_thread
from events.core.sse import Decoder
from tests.chat.conversation import Conversation


async def test_a_stop_before_all_else_leaves_the_process_able_to_answer(spine: None) -> None:
    assert await sync_to_async(streams.stop_sync)([uuid4()]) == 0
    talk = await Conversation.begin()
    assert await talk.end_of(await talk.ask()) == "completed"
    await talk.leave()


@pytest.mark.django_db(transaction=True)
async def test_a_database_that_is_away_for_one_heartbeat_cuts_nobody_off(monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = SessionEvents()
    viewer.caller, viewer.session_id = Caller(1, None, "session"), uuid4()
    answers: list[Any] = [OperationalError, True, OperationalError, OperationalError]

    def asked(caller: Caller, session_id: UUID) -> bool:
        answer = answers.pop(0)
        if answer is OperationalError:
            raise OperationalError
        return bool(answer)

    monkeypatch.setattr(consumers, "_still_allowed", asked)
    assert await viewer.allowed()
    assert await viewer.allowed()
    assert await viewer.allowed()
    with pytest.raises(OperationalError):  # twice in a row
        await viewer.allowed()


async def test_of_a_stream_whose_events_are_gone_its_text_and_end_are_left(talk: Conversation) -> None:
    accepted = await talk.ask("scripted:?tokens=4&rate=0")
    await talk.end_of(accepted)
    left = await in_thread(consumers._what_is_left, accepted.stream.id)
    assert left is not None
    token, end = Decoder().feed(left)
    assert (token.event, token.id, end.event, end.id) == ("chat.token", None, "chat.end", None)
    assert talk.history.text(accepted.stream.id) in token.data
    assert '"reason":"completed"' in end.data


@pytest.mark.parametrize(
    ("state", "reason", "event"), [("interrupted", "interrupted", "end"), ("failed", "worker_lost", "error")]
)
async def test_of_a_stream_whose_message_is_gone_too_its_end_is_left(
    talk: Conversation, state: str, reason: str, event: str
) -> None:
    accepted = await talk.ask()
    await talk.end_of(accepted)
    rows = Stream.objects.filter(id=accepted.stream.id)
    await in_thread(rows.update, message=None, state=state, reason=reason)
    left = await in_thread(consumers._what_is_left, accepted.stream.id)
    assert left is not None
    [end] = Decoder().feed(left)
    assert (end.event, json.loads(end.data)["message_id"]) == (f"chat.{event}", None)
    assert reason in end.data
