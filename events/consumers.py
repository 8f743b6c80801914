"""Responses that stay open: the one place where Channels is overridden.

As shipped, `AsyncHttpConsumer` sees no disconnect while `handle()` runs (Daphne cancels it 10 s later), and hops
through the one shared database thread before every message, behind any slow query of any consumer
(django/channels#1249, #1302). Here the wait for the disconnect is a task beside the response; whichever ends first ends
both.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from math import inf
from typing import Any, Literal

from channels.generic.http import AsyncHttpConsumer

from events import metrics
from events.conf import conf
from events.core import sse
from events.core.event import Event, encode_data
from events.exceptions import BusClosed, StorageUnavailable
from events.groups import Signal
from events.listeners import Delivered
from events.timers import EARLY_SECONDS
from events.viewer import Lost, Viewer

SSE_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]

# A scope extension of a server: a callable that writes a part of the body at once and says so, or refuses, if it would
# have to wait. `send` costs a task's wake-up and seven calls: most of what an event costs for each viewer.
WRITE = "events.write"

_READ_AGAIN_SECONDS = 1.0

Receive = Callable[[], Awaitable[Any]]


class LongResponseConsumer(AsyncHttpConsumer):
    """`respond(body)` writes the response, for as long as it takes; it is cancelled as soon as the client leaves.

    `disconnect()` runs exactly once after it, whatever ended it.
    """

    async def __call__(self, scope: Any, receive: Receive, send: Any) -> None:
        self.scope, self.base_send = scope, send
        leaving: asyncio.Task[None] | None = None
        stay = asyncio.timeout(None)
        try:
            body = await self._body(receive)
            if body is None:
                return
            async with stay:
                leaving = asyncio.get_running_loop().create_task(self._leave(receive, stay))
                await self.respond(body)
        except TimeoutError:
            if not stay.expired():
                raise
        finally:
            try:
                if leaving is not None:
                    leaving.cancel()
                    await asyncio.wait([leaving])
            finally:
                await self.disconnect()

    async def respond(self, body: bytes) -> None:
        """Sends the headers, then bodies, the last one with `more_body=False`."""
        raise NotImplementedError

    async def _body(self, receive: Receive) -> bytes | None:
        """The request's body (bounded before it comes here, `CHAT_MAX_BODY_BYTES`); None if the client left."""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            self.body.append(message.get("body", b""))
            if not message.get("more_body"):
                return b"".join(self.body)

    async def _leave(self, receive: Receive, stay: asyncio.Timeout) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        stay.reschedule(0)


class EventStreamConsumer(LongResponseConsumer):
    """A viewer's response. Subclasses say who it is and what it follows; `follow` does the rest.

    `limited`: the response ends cleanly after `EVENTS_MAX_CONNECTION_BYTES` or `_SECONDS`, between two events, which
    is what bounds the memory of a reader that does not read; its client comes back with its cursor.
    """

    limited = True
    started = False  # the headers have been sent
    sent_bytes = 0  # of events
    viewer: Viewer | None = None

    async def snapshot(self) -> tuple[int, dict[str, Any]]:
        """The session as it stands, and the seq for which that is true."""
        raise NotImplementedError

    async def allowed(self) -> bool:
        """Asked again on each heartbeat: what was allowed on opening may be no more."""
        return True

    async def catch_up(self, viewer: Viewer) -> bool:
        """The log has the next event no more: a snapshot takes the place of what the viewer had. False: it was all."""
        await self._send_snapshot(viewer, reset=True)
        return True

    async def dismiss(self) -> None:
        """`allowed` has said no: the response ends cleanly, for its client comes back and is told why. May raise."""

    def wants(self, event: Event) -> bool:
        """Whether this viewer is given the event."""
        return True

    def is_last(self, event: Event) -> bool:
        """Whether the response ends with this event."""
        return False

    def on_signal(self, signal: Signal) -> bytes | None:
        """A frame that is sent at once, and ends the response."""
        return None

    async def follow(self, viewer: Viewer, *, snapshot: Literal["", "first", "reset"] = "") -> None:
        """Everything after the viewer's cursor, until the last event, a limit, or the end of its permission.

        Before that a snapshot: the `first`, or one that takes the place of what the reader had (`reset`).
        """
        self.viewer = viewer
        loop = asyncio.get_running_loop()
        closes_at = loop.time() + conf.max_connection_seconds if self.limited else inf
        self.started = True
        await self.send_headers(status=200, headers=SSE_HEADERS)
        await self.send_body(sse.RETRY, more_body=True)  # nothing is on the wire before the first body
        if snapshot:
            await self._send_snapshot(viewer, reset=snapshot == "reset")
        extensions: Any = self.scope.get("extensions") or {}
        if write := extensions.get(WRITE):
            viewer.sink = partial(self._write_at_once, write)
        beat = loop.time() + conf.heartbeat_seconds
        timer = loop.call_at(min(beat, closes_at), viewer.wake)
        try:
            while not self._enough(closes_at):
                while viewer.signals:
                    if frame := self.on_signal(viewer.signals.pop(0)):
                        await self.send_body(frame, more_body=False)
                        return
                if loop.time() >= beat - EARLY_SECONDS:
                    if not await self.allowed():
                        await self.dismiss()
                        break
                    await self._send_ping(viewer)
                    beat = loop.time() + conf.heartbeat_seconds
                    timer = loop.call_at(min(beat, closes_at), viewer.wake)
                try:
                    delivered = await viewer.next()
                except StorageUnavailable:  # what it has been given stays; what comes is read when it can be
                    viewer.on_loss()
                    await asyncio.sleep(_READ_AGAIN_SECONDS)
                    continue
                except BusClosed:  # this process ends, and has not waited for so slow a reader
                    if not self.limited:
                        raise  # who cannot resume must not take it for the end
                    break
                if isinstance(delivered, Lost):
                    if not await self.catch_up(viewer):
                        return
                    continue
                frames, last = self._frames(delivered)
                if frames:
                    self.sent_bytes += len(frames)
                    await self.send_body(frames, more_body=not last)
                if last:
                    return
        finally:
            viewer.sink = None
            timer.cancel()
        await self.send_body(b"", more_body=False)

    async def disconnect(self) -> None:
        """Leaves the hub, which discards the session's group with its last viewer."""
        if self.viewer is not None:
            self.viewer.leave()

    def _enough(self, closes_at: float) -> bool:
        if not self.limited:
            return False
        over = asyncio.get_running_loop().time() >= closes_at - EARLY_SECONDS
        closing = self.viewer is not None and self.viewer.hub.closing
        return over or closing or self.sent_bytes >= conf.max_connection_bytes

    def _write_at_once(self, write: Callable[[bytes], bool], delivered: Sequence[Delivered]) -> bool:
        """The viewer's `sink`: what this task would do with the events, if that is nothing but writing them."""
        try:
            frames, last = self._frames(delivered)
            if last or (frames and not write(frames)):
                return False
        except Exception:
            return False  # the task meets it itself, and its response ends with it
        self.sent_bytes += len(frames)
        if self.viewer is not None and self.limited and self.sent_bytes >= conf.max_connection_bytes:
            self.viewer.wake()  # that was enough: the task ends the response
        return True

    def _frames(self, delivered: Sequence[Delivered]) -> tuple[bytes, bool]:
        frames = []
        for event, frame in delivered:
            if self.wants(event):
                frames.append(frame)
                if self.is_last(event):
                    return b"".join(frames), True
        return b"".join(frames), False

    async def _send_snapshot(self, viewer: Viewer, *, reset: bool) -> None:
        seq, data = await self.snapshot()
        if reset:
            data = {**data, "reset": True}
            metrics.resets.add()
        frame = sse.encode_frame("snapshot", encode_data(data), seq)
        viewer.start_at(seq, read_log=reset)  # the first one was read after the viewer had joined
        self.sent_bytes += len(frame)
        await self.send_body(frame, more_body=True)

    async def _send_ping(self, viewer: Viewer) -> None:
        head = max(viewer.cursor_seq, viewer.hub.heads.get(viewer.session_id, 0))
        await self.send_body(sse.encode_frame("ping", encode_data({"seq": head})), more_body=True)
