"""The outermost layer: whatever happens inside, the server sees a whole response and no exception.

Daphne needs this: one exception after the headers, or one response that is never finished, and its supervisor stops
for good: no error is ever answered again in that process (`daphne/server.py`, `application_checker`).
"""

from uuid import uuid4

import structlog

from chat.exceptions import Forbidden
from events.consumers import WRITE
from events.exceptions import BusClosed
from jarvis_site.asgi.errors import send_error
from jarvis_site.asgi.headers import REQUEST_ID, completed
from jarvis_site.asgi.types import Application, Message, Receive, Scope, Send
from jarvis_site.asgi.uvicorn_write import write_of

ABORT = (
    "jarvis.abort"  # a scope extension of our server: a callable that breaks the response off, visibly to its client
)
log = structlog.get_logger(__name__)


class ResponseGuard:
    """Lets out `CancelledError` only, and finishes every response that was started.

    An application that fails before its headers is answered for with a JSON 500. One that fails or is cancelled after
    them has its connection broken off where the server can do that, since a clean end would look like success to its
    client; else its response is ended. Gives each request its id.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            extensions = scope.get("extensions") or {}
            if WRITE not in extensions and (write := write_of(send)):
                extensions = {**extensions, WRITE: write}
            scope = {**scope, "extensions": extensions, REQUEST_ID: uuid4().hex}
            await _Exchange(self.application, scope, receive, send).run()
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        else:
            await self.application(scope, receive, send)


class _Exchange:
    def __init__(self, application: Application, scope: Scope, receive: Receive, send: Send) -> None:
        self.application, self.scope, self.receive, self._send = application, scope, receive, send
        self.started = self.finished = False

    async def run(self) -> None:
        whole = False
        try:
            await self.application(self.scope, self.receive, self.send)
            whole = True
        except Exception as error:
            names = {"trace": self.scope[REQUEST_ID], "path": self.scope["path"]}
            if self.started and isinstance(error, (BusClosed, Forbidden)):  # no defect: nobody may, or can, go on
                log.warning("response_cut", **names, err=str(error))
            else:
                log.exception("request_failed", **names)
            if not self.started:
                await self._answer_500()
        finally:
            if self.started and not self.finished:
                await self._end(whole)

    async def send(self, message: Message) -> None:
        if self.finished:  # something came late, as group messages do
            return
        await self._send(message)
        self.started = True
        self.finished = message["type"] == "http.response.body" and not message.get("more_body", False)

    async def _answer_500(self) -> None:
        async def send_completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = completed(message["headers"], self.scope["path"], self.scope[REQUEST_ID])
            await self.send(message)

        await send_error(
            self.scope, send_completed, 500, "internal_error", "Something went wrong here. It has been logged."
        )

    async def _end(self, whole: bool) -> None:
        abort = self.scope.get("extensions", {}).get(ABORT)
        if abort is not None and not whole:
            abort()
        else:
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})
