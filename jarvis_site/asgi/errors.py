"""The JSON of a refusal that no application wrote; on `/v1` in OpenAI's shape, which every client there expects."""

import json

from jarvis_site.asgi.types import Headers, Scope, Send

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def error_body(path: str, status: int, code: str, message: str) -> bytes:
    """`{"error": {"code", "message"}}`; below `/v1` with OpenAI's `type` and `param` as well."""
    error: dict[str, str | None] = {"code": code, "message": message}
    if path == "/v1" or path.startswith("/v1/"):
        kind = _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
        error |= {"type": kind, "param": None}
    return json.dumps({"error": error}).encode()


def error_headers(body: bytes) -> Headers:
    return [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]


async def send_error(scope: Scope, send: Send, status: int, code: str, message: str) -> None:
    """The whole response."""
    body = error_body(scope["path"], status, code, message)
    await send({"type": "http.response.start", "status": status, "headers": error_headers(body)})
    await send({"type": "http.response.body", "body": body})
