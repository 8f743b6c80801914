"""The two streaming endpoints: a prompt's answer, and everything that happens in a session."""

import json
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError

from chat import registry, streams, wire
from chat.callers import Caller, identify, still_allowed
from chat.ending import STORAGE_ERROR
from chat.exceptions import ChatError, Forbidden, MethodNotAllowed, NotFound, Overloaded, ShuttingDown
from chat.models import Stream
from chat.prompt import parse_prompt
from chat.schemas import StreamAccepted
from chat.snapshot import read_snapshot
from chat.stream_state import ENDED, EndReason
from chat.threads import in_thread
from chat.turns import Accepted
from events import bus
from events.consumers import EventStreamConsumer
from events.core import sse
from events.core.event import Event, encode_data
from events.exceptions import BusClosed, EventsError, TooManyViewers
from events.groups import Signal
from events.viewer import Viewer

logger = structlog.get_logger(__name__)


class ChatConsumer(EventStreamConsumer):
    """Parses, authorises, delegates; refusals are JSON."""

    method: str
    caller: Caller
    not_asked = False  # the last heartbeat found no database to ask

    async def respond(self, body: bytes) -> None:
        try:
            if self.scope["method"] != self.method:
                raise MethodNotAllowed(self.method)
            route: Any = self.scope
            self.session_id: UUID = route["url_route"]["kwargs"]["session_id"]
            self.caller = await in_thread(_owner, self.scope, self.session_id)
            await self.answer(body)
        except (ChatError, EventsError, OperationalError, InterfaceError) as error:
            if self.started:
                raise  # in mid-stream only a broken connection is honest
            await self.refuse(_refusal(error))

    async def answer(self, body: bytes) -> None:
        raise NotImplementedError

    async def refuse(self, error: ChatError) -> None:
        await self.send_json(error.status, error.as_json(), error.headers())

    async def send_json(self, status: int, data: dict[str, Any], headers: dict[str, str]) -> None:
        all_headers = {"Content-Type": "application/json", "Cache-Control": "no-store", **headers}
        encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in all_headers.items()]
        await self.send_response(status, json.dumps(data, ensure_ascii=False).encode(), headers=encoded)

    async def snapshot(self) -> tuple[int, dict[str, Any]]:
        return await in_thread(read_snapshot, self.session_id)

    async def allowed(self) -> bool:
        try:
            allowed = await in_thread(_still_allowed, self.caller, self.session_id)
        except (OperationalError, InterfaceError) as error:  # anything else is a defect
            if self.not_asked:
                raise  # twice in a row: nobody can say any more
            self.not_asked = True  # a short outage of the database is no reason to cut anybody off
            logger.warning("storage_away", err=repr(error))
            return True
        self.not_asked = False
        return allowed

    def header(self, name: bytes) -> str:
        """The request's header, or ""."""
        for key, value in self.scope["headers"]:
            if key.lower() == name:
                return str(value.decode("latin-1"))
        return ""

    def on_signal(self, signal: Signal) -> bytes | None:
        """What cannot be stored yet is told without an id; then the connection ends, and the client resumes."""
        return sse.encode_frame(wire.ERROR, signal.data) if signal.name == STORAGE_ERROR else None


class SessionEvents(ChatConsumer):
    """`GET /api/sessions/{id}/events/`: gapless from the cursor, or from a snapshot."""

    method = "GET"

    async def answer(self, body: bytes) -> None:
        streams_here = registry.current()
        if streams_here.draining:
            raise ShuttingDown
        streams_here.start()  # who comes back after a crash is told how that stream ended, without a new prompt
        after = self._cursor()
        viewer = bus.current().viewer(self.session_id, after or 0)
        self.viewer = viewer
        await viewer.join()
        await self.follow(viewer, snapshot="first" if after is None else "reset" if after < 0 else "")

    def is_last(self, event: Event) -> bool:
        return event.type == wire.SESSION and bool(json.loads(event.data).get("deleted"))

    def _cursor(self) -> int | None:
        """The last seq the reader has; None if it names none; -1 if what it names is no cursor."""
        text = self.header(b"last-event-id")
        if not text:
            query = parse_qs(self.scope["query_string"].decode("latin-1"), keep_blank_values=True)
            text = query.get("after", [""])[0]
        if not text:
            return None
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


class Prompt(ChatConsumer):
    """`POST /api/sessions/{id}/streams/`: the events of that stream until its end, or 202 and where to read them."""

    method = "POST"
    limited = False  # it cannot be resumed
    stream: Stream | None = None
    stream_hex = ""
    ids: dict[str, str | None]
    ended = False

    async def answer(self, body: bytes) -> None:
        streamed = "text/event-stream" in self.header(b"accept").lower()
        request = parse_prompt(
            body,
            self.header(b"content-type"),
            self.session_id,
            self.caller.label,
            idempotency_key=self.header(b"idempotency-key"),
            default_on_disconnect="cancel" if streamed else "continue",
        )
        if not streamed:
            await self._accepted(await streams.answer(request))
            return
        self.viewer = viewer = bus.current().viewer(self.session_id, 0)
        await viewer.join()  # before the prompt, so that nothing of its stream is missed
        accepted = await streams.answer(request)
        self.stream_hex, self.ids = accepted.stream.id.hex, wire.ids(accepted.stream)
        if not accepted.repeated:  # who asks again did not start it
            self.stream = accepted.stream
        viewer.start_at(accepted.seq, read_log=accepted.repeated)
        await self.follow(viewer)

    async def disconnect(self) -> None:
        """Leaves the hub; with `on_disconnect` `cancel` the stream ends, and the model's work with it."""
        await super().disconnect()
        if self.stream is not None and not self.ended and self.stream.on_disconnect == Stream.OnDisconnect.CANCEL:
            registry.current().tell_to_stop(self.session_id, [self.stream.id], EndReason.DISCONNECTED)

    async def dismiss(self) -> None:
        """It cannot come back, and must not take the end of its response for that of the answer."""
        error = Forbidden("This is no longer allowed: the API key was revoked, or the log-in has ended.")
        data = {"code": error.code, "message": error.message, "retryable": False}
        await self.send_body(sse.encode_frame(wire.ERROR, encode_data({**self.ids, **data})), more_body=True)
        raise error

    async def catch_up(self, viewer: Viewer) -> bool:
        """The events of a stream that is asked for again may be gone: its message and its end are what is left."""
        left = await in_thread(_what_is_left, UUID(self.stream_hex))
        if left is None:
            raise EventsError("What this stream sent is no longer stored.")
        await self.send_body(left, more_body=False)
        return False

    def wants(self, event: Event) -> bool:
        return event.stream_id == self.stream_hex

    def is_last(self, event: Event) -> bool:
        self.ended = event.type in wire.TERMINAL
        return self.ended

    def on_signal(self, signal: Signal) -> bytes | None:
        frame = super().on_signal(signal)
        if frame is None or UUID(json.loads(signal.data)["stream_id"]).hex != self.stream_hex:
            return None  # another stream of the session
        return frame

    async def _accepted(self, accepted: Accepted) -> None:
        stream = accepted.stream
        data = StreamAccepted(
            stream_id=stream.id, message_id=stream.message_id, prompt_id=stream.prompt_id, seq=accepted.seq
        )
        location = f"/api/sessions/{self.session_id}/streams/{stream.id}/"
        await self.send_json(202, data.model_dump(mode="json"), {"Location": location})


def _refusal(error: Exception) -> ChatError:
    if isinstance(error, ChatError):
        return error
    if isinstance(error, TooManyViewers):
        return Overloaded()
    if isinstance(error, BusClosed):
        return ShuttingDown()
    logger.warning("storage_away", err=repr(error))
    return Overloaded("The database is busy or away; try again in a moment.")


def _owner(scope: Any, session_id: UUID) -> Caller:
    caller = identify(scope)
    _own(caller, session_id)
    return caller


def _own(caller: Caller, session_id: UUID) -> None:
    if not caller.owns(session_id):
        raise NotFound


def _what_is_left(stream_id: UUID) -> bytes | None:
    """A stream's text, if there is any (a rollback removes it), and its end, without ids; None while it runs."""
    stream = Stream.objects.select_related("message").get(id=stream_id)
    if stream.state not in ENDED:
        return None
    token, message = b"", stream.message
    if message is not None and message.text:
        token = sse.encode_frame(wire.TOKEN, wire.token_encoder(stream.id, message.id)(message.text))
    end = wire.terminal(stream)
    return token + sse.encode_frame(end.type, end.data)


def _still_allowed(caller: Caller, session_id: UUID) -> bool:
    try:
        _own(caller, session_id)
    except NotFound:
        return False
    return still_allowed(caller)
