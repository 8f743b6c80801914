"""The events of a chat as data (`docs/wire-format.md`): one function a type, and how a message looks in JSON."""

from typing import Any
from uuid import UUID

from chat.models import Message, Stream
from chat.stream_state import EndReason, StreamState, is_error
from events.core.event import encode_data, encode_text
from events.log_transaction import Entry

TOKEN = "chat.token"  # noqa: S105
STATUS = "chat.status"
PROMPT = "chat.prompt"
END = "chat.end"
ERROR = "chat.error"
REMOVED = "chat.removed"
SESSION = "chat.session"
TERMINAL = frozenset({END, ERROR})


def status(stream: Stream, status: StreamState, *, position: int | None = None) -> Entry:
    """`position`: how many streams are before a queued one."""
    return _entry(STATUS, stream, status=status.value, **({} if position is None else {"position": position}))


def prompt(stream: Stream, message: Message) -> Entry:
    data = {"stream_id": str(stream.id), "message_id": str(message.id), "role": "user", "text": message.text}
    return Entry(PROMPT, encode_data(data), stream.id)


def token_encoder(stream_id: UUID, message_id: UUID) -> Any:
    """Makes a batch's text the data of a `chat.token`; all but the text is encoded once a stream."""
    head = encode_data({"stream_id": str(stream_id), "message_id": str(message_id)})[:-1] + ',"text":'

    def encode(text: str) -> str:
        return head + encode_text(text) + "}"

    return encode


def terminal(stream: Stream) -> Entry:
    """`chat.end` or `chat.error`, from the stream as it ended; `tokens` is null if nobody has counted them."""
    reason = EndReason(stream.reason)
    if is_error(reason):
        return _entry(ERROR, stream, code=reason.value, message=stream.error_message, retryable=stream.retryable)
    data: dict[str, Any] = {
        "reason": reason.value,
        "tokens": stream.tokens,
        "duration_seconds": stream.duration_seconds,
        "first_token_seconds": stream.first_token_seconds,
    }
    if stream.prompt_tokens is not None or stream.completion_tokens is not None:
        data["usage"] = {"prompt_tokens": stream.prompt_tokens, "completion_tokens": stream.completion_tokens}
    return _entry(END, stream, **data)


def removed(message_ids: list[UUID]) -> Entry:
    return Entry(REMOVED, encode_data({"message_ids": [str(message_id) for message_id in message_ids]}))


def session(title: str, *, deleted: bool = False) -> Entry:
    return Entry(SESSION, encode_data({"title": title, "deleted": deleted}))


def message_json(
    message: Message, stream: Stream | None = None, *, text: str | None = None, state: str | None = None
) -> dict[str, Any]:
    """A message as the API and the snapshot give it; `text` and `state` of an unfinished stream are in its events."""
    data: dict[str, Any] = {
        "id": str(message.id),
        "role": message.role,
        "text": message.text if text is None else text,
        "state": state or message.state,
        "created_at": message.created_at.isoformat(),
    }
    if message.reason:
        data["reason"] = message.reason
    if message.parent_id is not None:
        data["parent_id"] = str(message.parent_id)
    if stream is not None:
        data["stream_id"] = str(stream.id)
    return data


def ids(stream: Stream) -> dict[str, str | None]:
    """Whose event it is; there is no message any more if the stream was rolled back."""
    message_id = None if stream.message_id is None else str(stream.message_id)
    return {"stream_id": str(stream.id), "message_id": message_id}


def _entry(type: str, stream: Stream, **data: Any) -> Entry:
    return Entry(type, encode_data({**ids(stream), **data}), stream.id)
