"""The JSON API under /api/. Its streams are Channels consumers; `openapi.py` describes them beside these routes."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, Literal, cast
from uuid import UUID

import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI, Router, Status
from ninja.errors import HttpError, ValidationError
from ninja.parser import Parser
from ninja.security.base import AuthBase

from chat import registry, sessions, streams
from chat.callers import Caller, identify
from chat.exceptions import (
    ChatError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    ShuttingDown,
    TooLarge,
    Unauthenticated,
)
from chat.json_body import read_json
from chat.models import ChatSession, Stream
from chat.schemas import (
    ErrorBody,
    NewSession,
    QueryId,
    QueryText,
    RenamedSession,
    SessionDetail,
    SessionPage,
    SessionSummary,
    Stop,
    Stopped,
    StreamDetail,
    refusal,
)
from chat.session_list import list_sessions, summary, with_activity
from chat.snapshot import read_before, read_snapshot
from chat.stream_state import StreamState
from chat.threads import in_search_thread, in_thread
from events.exceptions import BusClosed, EventsError

logger = structlog.get_logger(__name__)
_REFUSALS: Any = {frozenset({400, 401, 403, 404, 405, 413, 415, 503}): ErrorBody}


class CallerRequest(HttpRequest):
    """A request that came through the gate."""

    auth: Caller


class CallerAuth(AuthBase):
    """An API key, or cookies with Django's CSRF token on unsafe methods: `callers.identify` decides alone."""

    openapi_type: Literal["http"] = "http"
    openapi_scheme = "bearer"

    async def __call__(self, request: HttpRequest) -> Caller:
        return await in_thread(identify, cast(Any, request).scope)


class JsonParser(Parser):
    def parse_body(self, request: HttpRequest) -> Any:
        return read_json(request.body, request.headers.get("Content-Type", ""))


_STREAM_FIELDS = tuple(set(StreamDetail.model_fields) & {field.attname for field in Stream._meta.fields})
_UNNAMED, _ALL = NewSession(), Stop()
router = Router(auth=CallerAuth(), tags=["sessions"])


@router.post("/", response={201: SessionSummary, **_REFUSALS}, summary="Begin a session")
async def create_session(request: CallerRequest, new: NewSession = _UNNAMED) -> Status[Any]:
    return Status(201, await in_thread(_create, request.auth, new.title))


@router.get("/", response={200: SessionPage, **_REFUSALS}, summary="Your sessions, newest activity first")
async def get_sessions(request: CallerRequest, search: QueryText = "", before: QueryText = "") -> dict[str, Any]:
    run = in_search_thread if search else in_thread
    return await run(list_sessions, request.auth, search, before)


@router.get(
    "/{uuid:session_id}/",
    response={200: SessionDetail, **_REFUSALS},
    exclude_unset=True,
    summary="A session with its newest messages, or those before one of them",
)
async def get_session(request: CallerRequest, session_id: UUID, before: QueryId = None) -> dict[str, Any]:
    return await in_thread(_read, request.auth, session_id, before)


@router.patch("/{uuid:session_id}/", response={200: SessionSummary, **_REFUSALS}, summary="Rename a session")
async def rename_session(request: CallerRequest, session_id: UUID, new: RenamedSession) -> dict[str, Any]:
    await in_thread(_own, request.auth, session_id)
    await sessions.rename(session_id, new.title)
    return summary(await in_thread(_own, request.auth, session_id))


@router.delete("/{uuid:session_id}/", response={204: None, **_REFUSALS}, summary="Delete a session, for every viewer")
async def delete_session(request: CallerRequest, session_id: UUID) -> Status[None]:
    await in_thread(_own, request.auth, session_id)
    await sessions.delete(session_id)
    return Status(204, None)


@router.get(
    "/{uuid:session_id}/streams/{uuid:stream_id}/",
    response={200: StreamDetail, **_REFUSALS},
    summary="How a stream went, or goes",
)
async def get_stream(request: CallerRequest, session_id: UUID, stream_id: UUID) -> dict[str, Any]:
    found = await in_thread(_stream, request.auth, session_id, stream_id)
    for running in registry.running_here(stream_id):
        if found["state"] == StreamState.THINKING and running.state is StreamState.STREAMING:
            found["state"] = running.state  # which is stored a moment later
    return found


@router.post("/{uuid:session_id}/stop/", response={200: Stopped, **_REFUSALS}, summary="Stop what is running")
async def stop(request: CallerRequest, session_id: UUID, what: Stop = _ALL) -> dict[str, bool]:
    await in_thread(_own, request.auth, session_id)
    return {"stopped": await streams.stop(session_id, what.stream_id)}


class Api(NinjaAPI):
    """Ninja answers a wrong method in plain text, and HEAD not at all."""

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        patterns, app_name, namespace = super().urls
        # Ninja's view of its own root is no operation, and not ours to answer with.
        operations = [each for each in patterns if isinstance(each, URLPattern) and iscoroutinefunction(each.callback)]
        for operation in operations:
            operation.callback = _with_methods(operation.callback)
        return list(operations), app_name, namespace


def _with_methods(view: Callable[..., Awaitable[HttpResponseBase]]) -> Callable[..., Awaitable[HttpResponseBase]]:
    @csrf_exempt  # `identify` checks
    async def answer(request: HttpRequest, **parameters: Any) -> HttpResponseBase:
        if request.method == "HEAD":
            request.method = "GET"  # the server leaves the body out
        response = await view(request, **parameters)
        if isinstance(response, HttpResponseNotAllowed):
            return refuse(MethodNotAllowed(*sorted(response["Allow"].split(", "))))
        return response

    return answer


api = Api(title="Jarvis", version="1", urls_namespace="api", openapi_url=None, docs_url=None, parser=JsonParser())
api.add_router("/sessions/", router)


def _create(caller: Caller, title: str) -> dict[str, Any]:
    return summary(ChatSession.objects.create(user_id=caller.user_id, anonymous_id=caller.anonymous_id, title=title))


def _own(caller: Caller, session_id: UUID) -> ChatSession:
    session = with_activity(caller.sessions()).filter(pk=session_id).first()
    if session is None:
        raise NotFound
    return session


def _read(caller: Caller, session_id: UUID, before: UUID | None) -> dict[str, Any]:
    session = _own(caller, session_id)
    seq, transcript = read_snapshot(session_id) if before is None else read_before(session_id, before)
    return {**summary(session), **transcript, "last_seq": seq}


def _stream(caller: Caller, session_id: UUID, stream_id: UUID) -> dict[str, Any]:
    stream = Stream.objects.filter(pk=stream_id, session=session_id, session__in=caller.sessions()).first()
    if stream is None:
        raise NotFound
    return {
        **{name: getattr(stream, name) for name in _STREAM_FIELDS},
        "stream_id": stream.id,
        "session_id": stream.session_id,
        "trace_id": stream.trace_id.hex,
        "reason": stream.reason or None,
        "error_message": stream.error_message or None,
        "usage": {"prompt_tokens": stream.prompt_tokens, "completion_tokens": stream.completion_tokens},
    }


def refuse(error: ChatError) -> JsonResponse:
    """The refusal as a response, in the shape that every error of the API has."""
    return JsonResponse(error.as_json(), status=error.status, headers=error.headers())


def _to_chat_error(error: Exception) -> ChatError:
    match error:
        case ChatError():
            return error
        case HttpError(__cause__=ChatError() as cause):  # raised while the body was parsed
            return cause
        case HttpError(__cause__=RequestDataTooBig()) | RequestDataTooBig():
            return TooLarge()
        case HttpError(status_code=401):
            return Unauthenticated()
        case ValidationError(errors=[{"loc": ["path", *_]}, *_]) | Http404():
            return NotFound()
        case ValidationError(errors=[{"loc": ["body", *_]} as first, *_]):
            return refusal(first, skip=2)
        case ValidationError(errors=[first, *_]):
            return refusal(first, skip=1)
        case BusClosed():
            return ShuttingDown()
        case OperationalError() | InterfaceError() | EventsError():  # locked for too long, or gone: it passes
            logger.warning("storage_away", err=repr(error))
            return Overloaded("The database is busy or away; try again in a moment.")
    return InvalidRequest()


def _refuse(request: HttpRequest, error: Exception | type[Exception]) -> HttpResponse:
    assert isinstance(error, Exception)
    response = refuse(_to_chat_error(error))
    cast(Any, response)._has_been_logged = True  # else Django logs a 503, which any stranger can bring about
    return response


for _kind in (
    ChatError,
    HttpError,
    ValidationError,
    Http404,
    RequestDataTooBig,
    OperationalError,
    InterfaceError,
    EventsError,
):
    api.add_exception_handler(_kind, _refuse)
