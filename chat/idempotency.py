"""The same prompt sent twice is one prompt, if it says so with a key. Part of the transaction that accepts it."""

from chat.exceptions import IdempotencyMismatch
from chat.models import IdempotencyKey, Stream
from chat.prompt import PromptRequest


def claimed(request: PromptRequest) -> IdempotencyKey | None:
    """The key, if a prompt of this caller in this session has claimed it. Raises IdempotencyMismatch."""
    if not request.idempotency_key:
        return None
    key = (
        IdempotencyKey.objects.select_related("stream__prompt")
        .filter(caller=request.caller_label, session_id=request.session_id, key=request.idempotency_key)
        .first()
    )
    if key is not None and key.body_digest != request.body_digest:
        raise IdempotencyMismatch
    return key


def claim(request: PromptRequest, stream: Stream, seq: int) -> None:
    """From now on the key stands for this stream, whose first event comes after `seq`."""
    if request.idempotency_key:
        IdempotencyKey.objects.create(
            caller=request.caller_label,
            session_id=request.session_id,
            key=request.idempotency_key,
            body_digest=request.body_digest,
            stream=stream,
            seq=seq,
        )
