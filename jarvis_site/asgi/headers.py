"""The headers that every response carries, whoever answers: consumers never pass Django's middleware."""

from collections.abc import Awaitable, Iterable

from jarvis_site.asgi.types import Application, Headers, Message, Receive, Scope, Send

REQUEST_ID = "jarvis.request_id"  # the scope's key; the same id stands in the response and in the log
_ALWAYS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]
_PRIVATE_PATHS = ("/api/", "/v1/")


def completed(headers: Iterable[tuple[bytes, bytes]], path: str, request_id: str) -> Headers:
    """`headers` and those that are missing; what the application has set stays as it is."""
    complete = list(headers)
    present = {name.lower(): value for name, value in complete}
    complete += [header for header in _ALWAYS if header[0] not in present]
    if b"x-request-id" not in present:
        complete.append((b"x-request-id", request_id.encode()))
    streamed = present.get(b"content-type", b"").startswith(b"text/event-stream")
    if (streamed or path.startswith(_PRIVATE_PATHS)) and b"cache-control" not in present:
        complete.append((b"cache-control", b"no-store"))
    return complete


class CompleteHeaders:
    """Adds what is missing to each response of the application."""

    def __init__(self, application: Application) -> None:
        self.application = application

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        def send_completed(message: Message) -> Awaitable[None]:  # no coroutine of its own: every event passes here
            if message["type"] == "http.response.start":
                headers = completed(message.get("headers", ()), scope["path"], scope[REQUEST_ID])
                return send({**message, "headers": headers})
            return send(message)

        return self.application(scope, receive, send_completed)
