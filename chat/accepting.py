"""What it takes to accept a prompt: room for it, its turn, its rows. Parts of the transaction in `turns.py`."""

from uuid import UUID

from django.conf import settings
from django.utils import timezone

from chat.exceptions import SessionBusy
from chat.models import ChatSession, Message, Stream
from chat.prompt import PromptRequest
from chat.providers import default_model
from chat.rows import insert, update
from chat.stream_state import EndReason, StreamState
from events.statements import fetch, id_of, key_of

TITLE_CHARACTERS = 80


def make_way(request: PromptRequest, before: list[Stream]) -> None:
    if request.if_busy == Stream.IfBusy.REJECT:
        raise SessionBusy
    if request.if_busy == Stream.IfBusy.ENQUEUE:
        if len([other for other in before if other.state == StreamState.QUEUED]) >= settings.CHAT_QUEUE_LIMIT:
            raise SessionBusy(
                f"{settings.CHAT_QUEUE_LIMIT} prompts are waiting in this session already (`CHAT_QUEUE_LIMIT`)."
            )
        return
    Stream.objects.filter(id__in=[other.id for other in before], stop_requested="").update(
        stop_requested=EndReason.INTERRUPTED
    )


def next_turn(session: ChatSession, request: PromptRequest, lease_id: UUID | None, undoes: int | None) -> Stream:
    """The stream with its prompt and its answer, none of them stored yet."""
    session.turns += 1
    session.active_at = timezone.now()
    session.title = session.title or _title(request.text)
    newest = fetch(
        "SELECT id FROM chat_message WHERE session_id = %s ORDER BY position DESC LIMIT 1", [key_of(session.id)]
    )
    parent = id_of(newest[0][0]) if newest else None
    prompt = Message(
        session=session, position=2 * session.turns, role=Message.Role.USER, text=request.text, parent_id=parent
    )
    answer = Message(
        session=session,
        position=2 * session.turns + 1,
        role=Message.Role.ASSISTANT,
        state=StreamState.QUEUED,
        parent_id=prompt.id,
    )
    return Stream(
        session=session,
        turn=session.turns,
        prompt=prompt,
        message=answer,
        lease_id=lease_id,
        if_busy=request.if_busy,
        on_disconnect=request.on_disconnect,
        model=request.model or default_model(),
        options=request.options,
        rollback_from=undoes if request.if_busy == Stream.IfBusy.ROLLBACK else None,
    )


def _title(text: str) -> str:
    """The first prompt's first line names the session, until somebody renames it. Viewers have the `chat.prompt`."""
    line = text.strip().splitlines()[0].strip()
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1].rstrip() + "…"


def store(stream: Stream) -> None:
    assert stream.prompt is not None
    assert stream.message is not None
    stream.message.seq = stream.prompt.seq
    update(stream.session, "turns", "active_at", "title")
    insert(stream.prompt, stream.message)
    insert(stream)
