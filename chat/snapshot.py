"""The session as it stands at one seq: its newest messages, the active stream's text so far included.

Read in one read transaction, so that the events after `seq` fit exactly behind it (I5 in `docs/architecture.md`).
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import connection

from chat import wire
from chat.exceptions import InvalidRequest
from chat.models import Message, Stream
from chat.newest import newest
from chat.rows import read
from chat.stream_state import ACTIVE, UNFINISHED, StreamState
from events.log_transaction import LogTransaction
from events.statements import on_postgresql

MAX_BYTES = 256 << 10


def read_snapshot(session_id: UUID) -> tuple[int, dict[str, Any]]:
    """(seq, {"messages", "active_stream"}); for a thread, outside any transaction. Older messages: `read_before`."""
    with _one_view():
        log = LogTransaction()
        seq = log.head(session_id)
        messages = newest(session_id, MAX_BYTES)
        streams = _streams_of(messages)
        texts: dict[UUID, list[str]] = {}
        statuses: dict[UUID, list[str]] = {}
        for stream in streams.values():
            if stream.state in ACTIVE:
                texts[stream.id] = log.data_of(session_id, stream.id, wire.TOKEN, "text")
            if stream.state in UNFINISHED:
                statuses[stream.id] = log.data_of(session_id, stream.id, wire.STATUS)
    return seq, fold(messages, streams, texts, statuses)


def read_before(session_id: UUID, message_id: UUID) -> tuple[int, dict[str, Any]]:
    """As `read_snapshot`, with the newest messages before this one. Raises InvalidRequest."""
    with _one_view():
        log = LogTransaction()
        seq, active = log.head(session_id), None
        told = Message.objects.filter(session_id=session_id, seq__isnull=False)
        position = told.filter(id=message_id).values_list("position", flat=True).first()
        if position is None:
            raise InvalidRequest("There is no such message in this session.", field="before")
        messages = newest(session_id, MAX_BYTES, position - 1)
        streams = _streams_of(messages)
        if stream := Stream.objects.filter(session_id=session_id, state__in=ACTIVE).first():
            active = _active(stream, _status(log.data_of(session_id, stream.id, wire.STATUS)))
    return seq, {**fold(messages, streams, {}, {}), "active_stream": active}


def fold(
    newest_first: Sequence[Message],
    streams: dict[UUID | None, Stream],
    texts: dict[UUID, list[str]],
    statuses: dict[UUID, list[str]],
) -> dict[str, Any]:
    """Pure. Of the unfinished streams, `texts`: what their tokens say; `statuses`: the data of `chat.status`."""
    messages: list[dict[str, Any]] = []
    active: dict[str, Any] | None = None
    size_bytes = 0
    for message in newest_first:
        stream = streams.get(message.id)
        text = state = None
        if stream is not None and stream.state in UNFINISHED:
            text = "".join(texts.get(stream.id, ()))
            state = _status(statuses.get(stream.id, ()))
            if stream.state in ACTIVE:
                active = _active(stream, state)
        data = wire.message_json(message, stream, text=text, state=state)
        size_bytes += len(data["text"].encode())
        if messages and size_bytes > MAX_BYTES:
            break
        messages.append(data)
    return {"messages": messages[::-1], "active_stream": active}


def _streams_of(messages: Sequence[Message]) -> dict[UUID | None, Stream]:
    answers = [message.id for message in messages if message.role == Message.Role.ASSISTANT]
    if not answers:
        return {}
    marks = ", ".join(["%s"] * len(answers))
    return {stream.message_id: stream for stream in read(Stream, f"message_id IN ({marks})", *answers)}


def _status(told: Sequence[str]) -> str:
    return str(json.loads(told[-1])["status"]) if told else StreamState.QUEUED.value


def _active(stream: Stream, status: str) -> dict[str, str]:
    return {"stream_id": str(stream.id), "message_id": str(stream.message_id), "status": status}


@contextmanager
def _one_view() -> Iterator[None]:
    """Every read in it sees the same state. Not `atomic()`: with IMMEDIATE that takes SQLite's one write lock."""
    begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if on_postgresql() else "BEGIN DEFERRED"
    with connection.cursor() as cursor:
        cursor.execute(begin)
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")
