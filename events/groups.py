"""A session's group, and what travels through it: events and signals, as layer messages of one fixed type.

Channels calls the handler that a message's `type` names, so nothing a client sent ever gets into it.
All values are text and integers: what every layer's serialiser carries unchanged.
"""

from typing import Any, Final, Literal, NamedTuple, TypedDict
from uuid import UUID

from events.core.event import Event

MESSAGE_TYPE: Final = "session.event"


class LayerMessage(TypedDict):
    """`seq` 0 is a signal: news that is not stored, named by `name`. Who is the `sender` knows it already."""

    type: Literal["session.event"]
    session: str
    seq: int
    name: str
    data: str
    stream: str | None
    sender: str


class Signal(NamedTuple):
    """A word between processes that nobody stores: `stop`, for example. May be lost; something durable backs it."""

    name: str
    data: str


def group_name(session_id: UUID) -> str:
    return f"session.{session_id.hex}"


def event_message(session_id: UUID, event: Event, sender: str = "") -> LayerMessage:
    return {
        "type": MESSAGE_TYPE,
        "session": session_id.hex,
        "seq": event.seq,
        "name": event.type,
        "data": event.data,
        "stream": event.stream_id,
        "sender": sender,
    }


def signal_message(session_id: UUID, signal: Signal, sender: str = "") -> LayerMessage:
    return {
        "type": MESSAGE_TYPE,
        "session": session_id.hex,
        "seq": 0,
        "name": signal.name,
        "data": signal.data,
        "stream": None,
        "sender": sender,
    }


def parse(message: dict[str, Any]) -> tuple[str, Event | Signal] | None:
    """The session (hex) and what came; None for what another version of this program may have sent.

    For each event of the process: plain look-ups, since matching a pattern costs four times as much.
    """
    try:
        session, seq, name = message["session"], message["seq"], message["name"]
        data, stream = message["data"], message["stream"]
    except KeyError:
        return None
    texts = isinstance(session, str) and isinstance(name, str) and isinstance(data, str)
    if not texts or not isinstance(seq, int) or message.get("type") != MESSAGE_TYPE:
        return None
    if seq == 0:
        return session, Signal(name, data)
    return (session, Event(seq, name, data, stream)) if stream is None or isinstance(stream, str) else None
