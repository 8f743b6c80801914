"""The OpenAPI text of the whole API: the routes that Django serves, and those of the Channels consumers."""

from functools import cache
from typing import Any
from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI, Router
from ninja.params.functions import Header, Query

from chat import api
from chat.exceptions import MethodNotAllowed
from chat.prompt import PromptIn
from chat.schemas import ErrorBody, StreamAccepted

_EVENTS = {"text/event-stream": {"schema": {"type": "string", "description": "server-sent events"}}}
_STREAM = {"responses": {200: {"description": "With `Accept: text/event-stream`", "content": _EVENTS}}}
_VIEW = {"responses": {200: {"description": "Everything that happens in the session", "content": _EVENTS}}}
_REFUSALS: Any = {frozenset({400, 401, 403, 404, 413, 415, 503}): ErrorBody}
_IDEMPOTENCY_KEY: Any = Header("", alias="Idempotency-Key", max_length=200)
_CURSOR: Any = Query(None, ge=0)
_LAST_EVENT_ID: Any = Header(None, alias="Last-Event-ID", ge=0)

# Never mounted: the consumers of `urls.stream_urlpatterns` answer here.
consumer_routes = Router(auth=api.CallerAuth(), tags=["streams"])


@consumer_routes.post(
    "/{uuid:session_id}/streams/",
    response={202: StreamAccepted, 409: ErrorBody, 422: ErrorBody, **_REFUSALS},
    openapi_extra=_STREAM,
    summary="Send a prompt",
)
def start_stream(
    request: HttpRequest,
    session_id: UUID,
    prompt: PromptIn,
    idempotency_key: str = _IDEMPOTENCY_KEY,
) -> None:
    """With `Accept: text/event-stream` the answer streams until its terminal event; else 202 says where to read it."""


@consumer_routes.get("/{uuid:session_id}/events/", response=_REFUSALS, openapi_extra=_VIEW, summary="Follow a session")
def follow_session(
    request: HttpRequest,
    session_id: UUID,
    after: int | None = _CURSOR,
    last_event_id: int | None = _LAST_EVENT_ID,
) -> None:
    """Stays open, gapless from the cursor; without a cursor it begins with a `snapshot`."""


@cache
def document() -> dict[str, Any]:
    """The OpenAPI text, as JSON data."""
    whole = NinjaAPI(title="Jarvis", version="1", urls_namespace="openapi", openapi_url=None, docs_url=None)
    whole.add_router("/sessions/", api.router)
    whole.add_router("/sessions/", consumer_routes)
    return whole.get_openapi_schema(path_prefix="/api/")


@csrf_exempt  # a missing token is not what is wrong
def openapi(request: HttpRequest) -> JsonResponse:
    if request.method not in ("GET", "HEAD"):
        return api.refuse(MethodNotAllowed("GET"))
    return JsonResponse(document())
