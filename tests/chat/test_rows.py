"""What `rows` writes is what a QuerySet would have written."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, transaction
from django.forms.models import model_to_dict

from chat.models import ChatSession, Lease, Message, Stream
from chat.rows import exists, insert, read, update
from chat.stream_state import EndReason, StreamState

pytestmark = pytest.mark.django_db

WHEN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def all_values(of: Stream | Message) -> dict[str, object]:
    return {field.attname: getattr(of, field.attname) for field in of._meta.concrete_fields}


@pytest.fixture
def session() -> ChatSession:
    return ChatSession.objects.create()


def as_stored(model: type[Stream | Message | ChatSession], id: UUID) -> dict[str, Any]:
    """What the row holds, as text: on SQLite nothing else tells two ways to write a time apart."""
    names = [str(field.column) for field in model._meta.local_concrete_fields]
    texts = ", ".join(f"CAST({connection.ops.quote_name(name)} AS text)" for name in names)
    with connection.cursor() as cursor:
        key = model._meta.pk.get_db_prep_value(id, connection)
        cursor.execute(f"SELECT {texts} FROM {model._meta.db_table} WHERE id = %s", [key])
        return dict(zip(names, cursor.fetchone(), strict=True))


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


FULL: dict[str, Any] = {
    "state": StreamState.FAILED,
    "reason": EndReason.PROVIDER_ERROR,
    "error_message": "50 % %s é'\"\\",
    "retryable": True,
    "stop_requested": "stopped",
    "if_busy": Stream.IfBusy.ROLLBACK,
    "rollback_from": 2**40,
    "on_disconnect": Stream.OnDisconnect.CANCEL,
    "options": {"stop": ["é", None, True], "temperature": 1e-7},
    "started_at": WHEN,
    "ended_at": WHEN.replace(microsecond=0),
    "queued_seconds": 0.1 + 0.2,
    "first_token_seconds": 1,  # an int in a field of floats
    "tokens": 7,
    "text_bytes": True,  # which is an int
}
EMPTY = {
    field.attname: None for field in Stream._meta.concrete_fields if field.null and not field.attname.endswith("_id")
}
ELSEWHERE = {
    "started_at": WHEN.astimezone(timezone(timedelta(hours=-3, minutes=-30))),
    "ended_at": WHEN.astimezone(timezone(timedelta(0), "nearly UTC")),
}


@pytest.mark.parametrize("values", [FULL, EMPTY, ELSEWHERE], ids=["full", "empty", "elsewhere"])
def test_what_is_stored_is_what_django_would_have_stored(session: ChatSession, values: dict[str, Any]) -> None:
    stream = of(session, 1)
    stream.lease = Lease.objects.create(host="here", pid=1) if values is FULL else None
    for name, value in values.items():
        setattr(stream, name, value)
    insert(stream)
    inserted = as_stored(Stream, stream.id)

    stream.save()
    assert as_stored(Stream, stream.id) == inserted
    update(stream, *(field.attname for field in Stream._meta.concrete_fields))
    assert as_stored(Stream, stream.id) == inserted


def test_keys_of_all_kinds_are_stored_as_django_stores_them(session: ChatSession) -> None:
    stream = of(session, 1)
    owned = ChatSession(user=get_user_model().objects.create(username="ada"), title="é")
    anonymous = ChatSession(anonymous_id=uuid4(), deleted_at=WHEN)
    insert(owned, anonymous)
    answer = stream.message
    assert answer is not None
    for each in (owned, anonymous, answer):
        inserted = as_stored(type(each), each.id)
        each.save()
        assert as_stored(type(each), each.id) == inserted
    answer.id, answer.position = str(uuid4()), 9  # a key as text
    insert(answer)
    assert Message.objects.get(position=9).id == UUID(str(answer.id))


def test_of_a_time_without_a_zone_django_warns(session: ChatSession) -> None:
    session.active_at = WHEN.replace(tzinfo=None)
    with pytest.warns(RuntimeWarning, match="naive datetime"):
        update(session, "active_at")
    assert ChatSession.objects.get(id=session.id).active_at == WHEN


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
