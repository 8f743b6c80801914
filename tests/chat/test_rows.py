"""What `rows` writes is what a QuerySet would have written."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction
from django.forms.models import model_to_dict

from chat.models import ChatSession, Message, Stream
from chat.rows import exists, insert, read, update
from chat.stream_state import EndReason, StreamState

pytestmark = pytest.mark.django_db

WHEN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def all_values(of: Stream | Message) -> dict[str, object]:
    return {field.attname: getattr(of, field.attname) for field in of._meta.concrete_fields}


@pytest.fixture
def session() -> ChatSession:
    return ChatSession.objects.create()


def of(session: ChatSession, turn: int) -> Stream:
    prompt = Message(session=session, position=2 * turn, role=Message.Role.USER, text='é"\0'.replace("\0", "'"))
    answer = Message(session=session, position=2 * turn + 1, role=Message.Role.ASSISTANT, parent_id=prompt.id)
    insert(prompt, answer)
    return Stream(
        session=session, turn=turn, prompt=prompt, message=answer, options={"temperature": 0.5, "stop": ["é"]}
    )


def test_what_is_inserted_is_read_back(session: ChatSession) -> None:
    before = datetime.now(UTC)
    stream = of(session, 1)
    stream.started_at, stream.queued_seconds, stream.retryable = WHEN, 0.25, True
    insert(stream)
    for kept in (stream, stream.prompt, stream.message):
        assert kept is not None
        assert all_values(type(kept).objects.get(id=kept.id)) == all_values(kept)
        assert before <= kept.created_at <= before + timedelta(minutes=1)  # as `auto_now_add` has it
    stream.tokens = 7
    stream.save()  # Django takes them for what they are: rows that exist
    assert Stream.objects.get().tokens == 7


def test_what_is_updated_is_that_alone(session: ChatSession) -> None:
    stream, other = of(session, 1), of(session, 2)
    insert(stream)
    insert(other)
    stream.state, stream.reason, stream.ended_at, stream.lease_id = (
        StreamState.FAILED,
        EndReason.PROVIDER_ERROR,
        WHEN,
        None,
    )
    stream.tokens, stream.batches = None, 9
    update(stream, "state", "reason", "ended_at", "lease_id", "tokens")
    stored = Stream.objects.get(id=stream.id)
    assert (stored.state, stored.reason, stored.ended_at, stored.tokens) == ("failed", "provider_error", WHEN, None)
    assert stored.batches == 0
    assert model_to_dict(Stream.objects.get(id=other.id)) == model_to_dict(other)


def test_the_databases_rules_hold(session: ChatSession) -> None:
    insert(of(session, 1))
    again = of(session, 2)
    again.turn = 1
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(again)
    with pytest.raises(KeyError):
        update(again, "lease")  # the attribute is `lease_id`
    assert isinstance(again.id, UUID)


def test_what_is_read_is_what_a_query_set_reads(session: ChatSession) -> None:
    streams = [of(session, turn) for turn in (1, 2, 3)]
    insert(*streams)
    later = read(Stream, "session_id = %s AND turn > %s ORDER BY turn DESC", session.id, 1)
    assert later == [streams[2], streams[1]]
    assert [all_values(stream) for stream in later] == [all_values(streams[2]), all_values(streams[1])]
    with transaction.atomic():
        assert read(ChatSession, "id = %s AND deleted_at IS NULL", session.id, lock=True) == [session]
    assert read(ChatSession, "id = %s", streams[0].id) == []
    assert exists(Stream, "session_id = %s AND turn > %s", session.id, 2)
    assert not exists(Stream, "session_id = %s AND turn > %s", session.id, 3)
