"""What can be refused, and how it is said. The class docstring is the default message, written for people."""

from typing import Any


class ChatError(Exception):
    """Something went wrong."""

    status = 500
    code = "internal_error"
    retry_after_seconds: int | None = None

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        self.message = message or " ".join((type(self).__doc__ or "").split())
        self.field = field
        super().__init__(self.message)

    def as_json(self) -> dict[str, Any]:
        """`{"error": {"code", "message", "field"?}}`, the shape of every refusal."""
        error = {"code": self.code, "message": self.message}
        if self.field is not None:
            error["field"] = self.field
        return {"error": error}

    def headers(self) -> dict[str, str]:
        return {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}


class InvalidRequest(ChatError):
    """The request is malformed."""

    status, code = 400, "invalid_request"


class Unauthenticated(ChatError):
    """Send an API key as `Authorization: Bearer jv-…`, or open the chat page in this browser first."""

    status, code = 401, "unauthenticated"

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(ChatError):
    """This is not allowed."""

    status, code = 403, "forbidden"


class NotFound(ChatError):
    """There is nothing here for you: it does not exist, or it is not yours."""

    status, code = 404, "not_found"


class ModelNotFound(ChatError):
    """The model does not exist here; leave `model` out for the default one."""

    status, code = 404, "model_not_found"


class MethodNotAllowed(ChatError):
    """This method is not allowed here."""

    status, code = 405, "method_not_allowed"

    def __init__(self, *allowed: str) -> None:
        super().__init__(f"Use {' or '.join(allowed)} here.")
        self.allowed = allowed

    def headers(self) -> dict[str, str]:
        return {"Allow": ", ".join(self.allowed)}


class SessionBusy(ChatError):
    """The session is answering another prompt; wait for its end, stop it, or send `if_busy`: `interrupt`."""

    status, code = 409, "session_busy"

    def headers(self) -> dict[str, str]:
        return {"x-should-retry": "false"}


class TooLarge(ChatError):
    """The request's body is too large."""

    status, code = 413, "too_large"


class UnsupportedMediaType(ChatError):
    """Send the body as `Content-Type: application/json`."""

    status, code = 415, "unsupported_media_type"


class IdempotencyMismatch(ChatError):
    """This Idempotency-Key was used with another body; use a new key for a new prompt."""

    status, code = 422, "idempotency_mismatch"


class ShuttingDown(ChatError):
    """The server is shutting down; try again in a moment."""

    status, code, retry_after_seconds = 503, "shutting_down", 2


class Overloaded(ChatError):
    """The server has as much to do as it can take; try again in a moment."""

    status, code, retry_after_seconds = 503, "overloaded", 2
