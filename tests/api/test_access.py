"""Who may do what: every route of the router × every kind of caller. A route without an entry fails the build."""

import json
import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.urls import get_resolver

from chat.api import api
from chat.models import ChatSession, Stream
from chat.stream_state import StreamState
from chat.threads import in_thread
from tests.api.client import ApiClient, error_of, user

# For each route: the status that the owner gets, and the body to send.
ROUTES: dict[tuple[str, str], tuple[int, Any]] = {
    ("GET", "/{session}/"): (200, None),
    ("PATCH", "/{session}/"): (200, {"title": "mine now"}),
    ("DELETE", "/{session}/"): (204, None),
    ("GET", "/{session}/streams/{stream}/"): (200, None),
    ("POST", "/{session}/stop/"): (200, {}),
}
# These name no session: each caller reaches their own sessions only.
OPEN_ROUTES: dict[tuple[str, str], tuple[int, Any]] = {
    ("GET", "/"): (200, None),
    ("POST", "/"): (201, {}),
}
OWNERS = ["browser", "user", "key"]
STRANGERS = ["browser", "user", "key", "staff"]  # somebody else's, each


def routes() -> set[tuple[str, str]]:
    """All that ninja serves, with the names of this file for the parts of a path."""
    found = set()
    for bound in api._get_bound_routers():
        for path, view in bound.path_operations.items():
            named = re.sub(r"{\w+:(\w+)_id}", r"{\1}", path)
            found |= {(method, named) for operation in view.operations for method in operation.methods}
    return found


async def caller(kind: str) -> ApiClient:
    match kind:
        case "browser":
            return await ApiClient.browser()
        case "user":
            return await ApiClient.browser(await user())
        case "key":
            return await ApiClient.with_key(await user())
        case "staff":
            return await ApiClient.browser(await user(is_staff=True))
    raise ValueError(kind)


async def owner_of_a_session(kind: str) -> tuple[ApiClient, str, str]:
    """(owner, session, stream)"""
    owner = await caller(kind)
    session_id = (await owner.new_session("mine"))["id"]
    stream = await in_thread(
        Stream.objects.create, session_id=session_id, turn=1, state=StreamState.COMPLETED, reason="completed"
    )
    return owner, session_id, str(stream.id)


async def untouched(session_id: str) -> bool:
    session = await in_thread(ChatSession.objects.get, pk=UUID(session_id))
    return (session.title, session.deleted_at) == ("mine", None)


async def request(by: ApiClient, route: tuple[str, str], session: str, stream: str) -> Any:
    method, path = route
    body = (ROUTES | OPEN_ROUTES)[route][1]
    filled = "/api/sessions" + path.format(session=session, stream=stream)
    return await by.send(method, filled, b"" if body is None else json.dumps(body).encode())


def test_every_route_is_in_the_matrix() -> None:
    assert routes() == ROUTES.keys() | OPEN_ROUTES.keys()


def test_every_route_has_the_gate() -> None:
    operations = [
        operation
        for bound in api._get_bound_routers()
        for view in bound.path_operations.values()
        for operation in view.operations
    ]
    assert operations
    assert all(len(operation.auth_callbacks) == 1 for operation in operations)


def test_no_other_address_lies_under_the_api() -> None:
    patterns = [str(pattern.pattern) for pattern in get_resolver("chat.urls").url_patterns]
    under = [pattern for pattern in patterns if pattern.startswith(("api", "v1", "^"))]
    assert under == ["api/openapi.json", "api/", "^(?:api|v1)(?:/|$)"]


@pytest.mark.parametrize("owner", OWNERS)
async def test_the_owner_may(database: None, owner: str) -> None:
    for route, (status, _) in ROUTES.items():
        own, session, stream = await owner_of_a_session(owner)
        assert (route, (await request(own, route, session, stream)).status_code) == (route, status)


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("kind", STRANGERS)
async def test_a_stranger_finds_nothing(database: None, owner: str, kind: str) -> None:
    _, session, stream = await owner_of_a_session(owner)
    stranger = await caller(kind)
    for route in ROUTES:
        foreign, missing = [await request(stranger, route, where, stream) for where in (session, str(uuid4()))]
        assert (route, *error_of(foreign)) == (route, 404, "not_found", None)
        assert foreign.content == missing.content
    assert await untouched(session)


async def test_nobody_gets_in(database: None) -> None:
    _, session, stream = await owner_of_a_session("browser")
    for route in ROUTES | OPEN_ROUTES:
        refused = await request(ApiClient(), route, session, stream)
        assert (route, *error_of(refused)) == (route, 401, "unauthenticated", None)
    assert await untouched(session)


@pytest.mark.parametrize("kind", STRANGERS)
async def test_everyone_begins_with_an_empty_list(database: None, kind: str) -> None:
    await owner_of_a_session("browser")
    assert (await (await caller(kind)).get("/api/sessions/")).json() == {"sessions": [], "next": None}


async def test_a_browser_changes_nothing_without_its_token(database: None) -> None:
    own, session, stream = await owner_of_a_session("browser")
    del own.http.headers["X-CSRFToken"]
    for route in ROUTES | OPEN_ROUTES:
        if route[0] != "GET":
            refused = await request(own, route, session, stream)
            assert (route, *error_of(refused)) == (route, 403, "forbidden", None)
    assert await untouched(session)


@pytest.mark.parametrize("owner", OWNERS)
async def test_a_deleted_session_is_nobodys(database: None, owner: str) -> None:
    own, session, stream = await owner_of_a_session(owner)
    await own.delete(f"/api/sessions/{session}/")
    for route in ROUTES:
        assert error_of(await request(own, route, session, stream)) == (404, "not_found", None)


async def test_no_spelling_gets_around_the_gate(database: None) -> None:
    for path in ("//api/sessions/", "/api/sessions%2f", "/api/./sessions/", "/%61pi/sessions/", "/API/sessions/"):
        assert (path, (await ApiClient().get(path)).status_code) in [(path, 401), (path, 404)]


async def test_an_inactive_user_is_out(database: None) -> None:
    somebody = await user("ada")
    with_key, in_browser = await ApiClient.with_key(somebody), await ApiClient.browser(somebody)
    await in_thread(User.objects.filter(pk=somebody.pk).update, is_active=False)
    for client in (with_key, in_browser):
        assert error_of(await client.get("/api/sessions/")) == (401, "unauthenticated", None)


async def test_logging_out_ends_access(database: None) -> None:
    browser = await caller("user")
    assert (await browser.http.post("/logout/")).status_code == 302
    assert error_of(await browser.get("/api/sessions/")) == (401, "unauthenticated", None)
