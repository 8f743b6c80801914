"""How long a request's body may be, on every route, before anything is parsed."""

from django.conf import settings

from jarvis_site.asgi.errors import send_error
from jarvis_site.asgi.types import Application, Message, Receive, Scope, Send


class BodyLimit:
    """Starts the application with the whole body in one message; 413 if that is above `CHAT_MAX_BODY_BYTES`.

    A length that is declared is refused at once, one that is not as soon as too much has come. If the client leaves
    before the end of the body, the application is not started.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = settings.CHAT_MAX_BODY_BYTES
        chunks: list[bytes] = []
        size, more = 0, True
        while more and size <= limit and _declared_length(scope) <= limit:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            more = message.get("more_body", False)
        if more or size > limit:
            text = f"The request's body is too large: at most {limit} bytes are accepted."
            await send_error(scope, send, 413, "too_large", text)
            return
        whole: list[Message] = [{"type": "http.request", "body": b"".join(chunks), "more_body": False}]

        async def receive_whole() -> Message:
            return whole.pop() if whole else await receive()

        await self.application(scope, receive_whole, send)


def _declared_length(scope: Scope) -> int:
    """What `Content-Length` says; 0 without one (a malformed one never gets past a server)."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0
