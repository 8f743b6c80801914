"""What requests to the API may contain and what it answers. A prompt's schema is in `prompt.py`."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from chat.exceptions import InvalidRequest
from chat.stream_state import EndReason, StreamState


def _one_line(value: Any) -> Any:
    return " ".join(value.split()) if isinstance(value, str) else value


def _none_if_empty(value: Any) -> Any:
    return value or None


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the character NUL")
    return text


# The length comes first: after a validator pydantic takes any value's for a number of items.
QueryText = Annotated[str, StringConstraints(max_length=200), AfterValidator(_no_nul)]
Title = Annotated[QueryText, BeforeValidator(_one_line)]
QueryId = Annotated[UUID | None, BeforeValidator(_none_if_empty)]


class RequestBody(BaseModel):
    """A field that nobody knows is refused: it is a slip of the pen more often than not."""

    model_config = ConfigDict(extra="forbid")


class NewSession(RequestBody):
    title: Title = ""


class RenamedSession(RequestBody):
    title: Annotated[Title, AfterValidator(_not_blank)]


class Stop(RequestBody):
    stream_id: UUID | None = Field(default=None, description="only this stream; without it, whatever runs or waits")


RolledBack = Annotated[UUID | None, Field(description="null: asked for again after it was rolled back")]


class StreamAccepted(BaseModel):
    stream_id: UUID
    message_id: RolledBack
    prompt_id: RolledBack
    seq: int = Field(description="the head of the event log before the stream's first event: read on from here")


class SessionSummary(BaseModel):
    id: UUID
    title: str
    created_at: datetime
    active_at: datetime
    url: str
    active: bool = Field(description="whether a stream is running in it now")


class SessionPage(BaseModel):
    sessions: list[SessionSummary]
    next: str | None = Field(description="send it as `before` for the page that follows; null: this is the last one")


class MessageOut(BaseModel):
    id: UUID
    role: Literal["user", "assistant", "system"]
    text: str
    state: StreamState
    reason: EndReason | None = None
    parent_id: UUID | None = None
    stream_id: UUID | None = None
    created_at: str


class ActiveStream(BaseModel):
    stream_id: UUID
    message_id: UUID
    status: str


class SessionDetail(SessionSummary):
    messages: list[MessageOut]
    active_stream: ActiveStream | None
    last_seq: int = Field(description="the event up to which this is true: a cursor for …/events/")


class Usage(BaseModel):
    prompt_tokens: int | None
    completion_tokens: int | None


class StreamDetail(BaseModel):
    stream_id: UUID
    session_id: UUID
    message_id: UUID | None
    prompt_id: UUID | None
    trace_id: str = Field(pattern="^[0-9a-f]{32}$", description="its log lines have it as `trace=`")
    state: StreamState
    reason: EndReason | None
    error_message: str | None
    model: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    queued_seconds: float | None
    first_token_seconds: float | None
    duration_seconds: float | None
    tokens: int | None = Field(description="null: another process ended it, which had not counted them")
    batches: int
    text_bytes: int
    usage: Usage


class Stopped(BaseModel):
    stopped: bool = Field(description="false: nothing was running")


class ErrorDetail(BaseModel):
    code: str
    message: str = Field(description="for people")
    field: str | None = None


class ErrorBody(BaseModel):
    error: ErrorDetail


def refusal(error: Any, skip: int = 0) -> InvalidRequest:
    """One of pydantic's errors in words; `skip` leading parts of its location do not name the request's fields."""
    field = ".".join(str(part) for part in error["loc"][skip:])[:100] or None
    if error["type"] == "extra_forbidden":
        return InvalidRequest("There is no such field here.", field=field)
    if error["type"] == "model_type":
        return InvalidRequest(f"{field or 'The body'} must be a JSON object.", field=field)
    message = error["msg"].removeprefix("Value error, ")
    return InvalidRequest(f"{field or 'The body'}: {message}", field=field)
