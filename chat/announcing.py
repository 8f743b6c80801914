"""When viewers are shown a prompt: in the order of turns, each once. Parts of the transactions in `turns.py`."""

from typing import Any

from django.db.models import prefetch_related_objects

from chat import wire
from chat.models import ChatSession, Message, Stream
from chat.rows import read
from chat.stream_state import UNFINISHED, EndReason, StreamState
from events.log_transaction import LogTransaction


def announce_late(log: LogTransaction, stream: Stream) -> None:
    """A prompt that never began is still a prompt that was made: viewers are shown it before its end."""
    if stream.prompt is None or stream.prompt.seq is not None:
        return
    for position, waiting in enumerate(unfinished(stream.session)):
        if waiting.turn < stream.turn:
            announce_waiting(log, waiting, position)
    stream.prompt.seq = log.append(stream.session_id, wire.prompt(stream, stream.prompt))
    announce(stream)


def announce_waiting(log: LogTransaction, stream: Stream, position: int) -> None:
    """Shows a prompt before its turn: it queues, or a newer one is shown, and viewers get them in their order."""
    if stream.prompt is not None and stream.prompt.seq is None:
        queued = wire.status(stream, StreamState.QUEUED, position=position)
        stream.prompt.seq = log.append(stream.session_id, queued, wire.prompt(stream, stream.prompt))
        announce(stream)


def announce(stream: Stream) -> None:
    """The prompt has been shown with the event `seq`; from there on it and its answer are in snapshots."""
    assert stream.prompt is not None
    Message.objects.filter(id__in=[stream.prompt_id, stream.message_id]).update(seq=stream.prompt.seq)


def unfinished(session: ChatSession) -> list[Stream]:
    """Oldest first, with the session and their prompts."""
    marks = ", ".join(["%s"] * len(UNFINISHED))
    streams = read(
        Stream,
        f"session_id = %s AND state IN ({marks}) ORDER BY turn",
        session.id,
        *(state.value for state in UNFINISHED),
    )
    for stream in streams:
        stream.session = session
    prefetch_related_objects(streams, "prompt")
    return streams


def roll_back(log: LogTransaction, stream: Stream) -> None:
    """Removes what the stream's prompt has interrupted. What hung on it hangs on the message before it."""
    undone: list[Any] = list(
        stream.session.streams.filter(
            turn__gte=stream.rollback_from, turn__lt=stream.turn, reason=EndReason.INTERRUPTED
        ).values_list("prompt_id", "message_id")
    )
    message_ids = [message_id for pair in undone for message_id in pair if message_id is not None]
    if not message_ids:
        return
    messages = stream.session.messages
    left_behind = list(messages.filter(parent_id__in=message_ids).exclude(id__in=message_ids))
    Message.objects.filter(id__in=message_ids).delete()
    log.append(stream.session_id, wire.removed(message_ids))
    for message in left_behind:
        before = messages.filter(position__lt=message.position).order_by("-position").first()
        Message.objects.filter(id=message.id).update(parent=before)
