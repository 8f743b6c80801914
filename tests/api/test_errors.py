"""Every refusal has one shape, and nothing that strangers send is our fault."""

from typing import Any
from uuid import UUID

import pytest
from django.conf import LazySettings
from django.db import OperationalError
from structlog.testing import capture_logs

from chat import api, streams
from events.exceptions import BusClosed, EventsError, StorageUnavailable
from tests.api.client import ApiClient, error_of

SESSIONS = "/api/sessions/"
NOWHERE = UUID("abcdef01-2345-4678-9abc-def012345678")

BAD_BODIES: dict[str, bytes] = {
    "malformed": b'{"title": ',
    "not an object": b"[]",
    "text": b'"title"',
    "null": b"null",
    "two values": b"{} {}",
    "single quotes": b"{'title': 'x'}",
    "not UTF-8": b'{"title": "\xff"}',
    "UTF-16": '{"title": "x"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "surrogate in bytes": b'{"title": "\xed\xa0\x80"}',
    "NaN": b'{"title": NaN}',
    "Infinity": b'{"title": -Infinity}',
    "huge exponent": b'{"title": 1e999}',
    "huge number": b'{"title": ' + b"9" * 5000 + b"}",
    "deep": b"[" * 100_000,
    "deep, whole": b'{"title": ' + b"[" * 500 + b"]" * 500 + b"}",
    "lone high surrogate": rb'{"title": "\ud800 alone"}',
    "lone low surrogate": rb'{"title": "\udc00 alone"}',
    "wrong surrogate pair": rb'{"title": "\ud800\ud800 twice"}',
    "surrogate in a key": rb'{"\udfff alone": 1}',
}
BAD_FIELDS: dict[str, tuple[bytes, str]] = {
    "NUL": (rb'{"title": "a\u0000b"}', "title"),
    "number": (b'{"title": 1}', "title"),
    "large number": (b'{"title": 123456789012345678901234567890}', "title"),
    "null title": (b'{"title": null}', "title"),
    "list": (b'{"title": ["x"]}', "title"),
    "object": (b'{"title": {"a": {"b": 1}}}', "title"),
    "too long": (b'{"title": "' + b"x" * 201 + b'"}', "title"),
    "unknown field": (b'{"titel": "x"}', "titel"),
    "unknown field with a long name": (b'{"' + b"x" * 5000 + b'": 1}', "x" * 100),
}
NO_ADDRESSES = [
    "/api/",
    "/api",
    "/api/nothing/",
    "/api/sessions",
    "/api//sessions/",
    "/api/Sessions/",
    "/api/sessions/not-an-id/",
    f"/api/sessions/{str(NOWHERE).upper()}/",
    f"/api/sessions/{NOWHERE.hex}/",
    f"/api/sessions/{NOWHERE}",
    f"/api/sessions/{NOWHERE}/%00/",
    f"/api/sessions/{NOWHERE}/streams/x/",
    "/v1/nothing",
]


def logged_by_django(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("django")]


async def test_a_bad_body_is_the_senders_fault(ada: ApiClient) -> None:
    for name, body in BAD_BODIES.items():
        status, code, _ = error_of(await ada.send("POST", SESSIONS, body))
        assert (name, status, code) == (name, 400, "invalid_request")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "The body must be a JSON object."),
        (b'"title"', "The body must be a JSON object."),
        (rb'{"title": "\ud800"}', "The body is not valid JSON: a surrogate is alone"),
        (rb'{"title": "\\ud800"', "The body is not valid JSON: Input data was truncated"),
        (b'{"title": "' + b"x" * 201 + b'"}', "title: String should have at most 200 characters"),
    ],
)
async def test_what_is_wrong_is_said_in_the_senders_words(ada: ApiClient, body: bytes, message: str) -> None:
    assert (await ada.send("POST", SESSIONS, body)).json()["error"]["message"] == message


async def test_a_bad_field_is_named(ada: ApiClient) -> None:
    for name, (body, field) in BAD_FIELDS.items():
        refused = error_of(await ada.send("POST", SESSIONS, body))
        assert (name, *refused) == (name, 400, "invalid_request", field)


@pytest.mark.parametrize("value", [{}, {"title": ""}, {"title": " \n "}, {"title": None}])
async def test_a_session_cannot_be_renamed_to_nothing(ada: ApiClient, value: Any) -> None:
    path = f"{SESSIONS}{(await ada.new_session('kept'))['id']}/"
    assert error_of(await ada.patch(path, value)) == (400, "invalid_request", "title")
    assert error_of(await ada.send("PATCH", path)) == (400, "invalid_request", None)
    assert (await ada.get(path)).json()["title"] == "kept"


@pytest.mark.parametrize("stream_id", ["x", 1, "", [], "0" * 31])
async def test_a_stream_id_is_an_id(ada: ApiClient, stream_id: Any) -> None:
    path = f"{SESSIONS}{(await ada.new_session())['id']}/stop/"
    assert error_of(await ada.post(path, {"stream_id": stream_id})) == (400, "invalid_request", "stream_id")


@pytest.mark.parametrize("text", ["😀", "\u202e", "\x1b[31m", "<script>", "ﷺ" * 200, "e\u0301" * 100, "\uffff"])
async def test_unusual_text_is_just_text(ada: ApiClient, text: str) -> None:
    assert (await ada.new_session(text))["title"] == text


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "*/*"]
)
async def test_a_body_must_call_itself_json(ada: ApiClient, content_type: str) -> None:
    response = await ada.send("POST", SESSIONS, b"{}", Content_Type=content_type)
    assert error_of(response) == (415, "unsupported_media_type", None)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;"])
async def test_json_may_be_written_in_several_ways(ada: ApiClient, content_type: str) -> None:
    assert (await ada.send("POST", SESSIONS, b"{}", Content_Type=content_type)).status_code == 201


async def test_too_large_a_body_is_refused(ada: ApiClient, settings: LazySettings) -> None:
    body = b'{"title": "' + b" " * settings.CHAT_MAX_BODY_BYTES + b'"}'
    assert error_of(await ada.send("POST", SESSIONS, body)) == (413, "too_large", None)


async def test_what_is_no_address_is_not_found(ada: ApiClient) -> None:
    for path in NO_ADDRESSES:
        for method in ("GET", "POST"):
            refused = error_of(await ada.send(method, path))
            assert (method, path, *refused) == (method, path, 404, "not_found", None)


async def test_missing_and_foreign_cannot_be_told_apart(ada: ApiClient, grace: ApiClient) -> None:
    foreign = (await grace.new_session())["id"]
    answers = [await ada.get(f"{SESSIONS}{session_id}/") for session_id in (foreign, NOWHERE)]
    assert answers[0].status_code == answers[1].status_code == 404
    assert answers[0].content == answers[1].content
    assert answers[0].headers == answers[1].headers


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", SESSIONS, "GET, POST"),
        ("DELETE", SESSIONS, "GET, POST"),
        ("OPTIONS", SESSIONS, "GET, POST"),
        ("BREW", SESSIONS, "GET, POST"),
        ("POST", f"{SESSIONS}{NOWHERE}/", "DELETE, GET, PATCH"),
        ("GET", f"{SESSIONS}{NOWHERE}/stop/", "POST"),
        ("POST", "/api/openapi.json", "GET"),
        ("DELETE", "/api/openapi.json", "GET"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(ada: ApiClient, method: str, path: str, allowed: str) -> None:
    response = await ada.send(method, path)
    assert error_of(response) == (405, "method_not_allowed", None)
    assert response.headers["Allow"] == allowed


async def test_head_is_get_without_a_body(ada: ApiClient) -> None:
    assert (await ada.send("HEAD", SESSIONS)).status_code == 200


async def test_without_a_name_everything_is_refused(database: None) -> None:
    response = await ApiClient().get(SESSIONS)
    assert error_of(response) == (401, "unauthenticated", None)
    assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_a_browser_without_its_token_is_forbidden(database: None) -> None:
    browser = await ApiClient.browser()
    del browser.http.headers["X-CSRFToken"]
    response = await browser.post(SESSIONS)
    assert error_of(response) == (403, "forbidden", None)
    assert "X-CSRFToken" in response.json()["error"]["message"]


async def test_a_locked_database_is_no_internal_error(
    ada: ApiClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def locked(*arguments: Any) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(api, "list_sessions", locked)
    with capture_logs() as lines:
        response = await ada.get(SESSIONS)
    assert error_of(response) == (503, "overloaded", None)
    assert [(line["event"], line["log_level"]) for line in lines] == [("storage_away", "warning")]
    assert logged_by_django(caplog) == []
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize(("error", "code"), [(StorageUnavailable(), "overloaded"), (BusClosed(), "shutting_down")])
async def test_a_log_that_cannot_be_written_is_no_internal_error(
    ada: ApiClient, monkeypatch: pytest.MonkeyPatch, error: EventsError, code: str
) -> None:
    async def unavailable(*arguments: Any) -> None:
        raise error

    session = (await ada.post(SESSIONS)).json()["id"]
    monkeypatch.setattr(streams, "stop", unavailable)
    response = await ada.post(f"{SESSIONS}{session}/stop/")
    assert error_of(response) == (503, code, None)
    assert int(response.headers["Retry-After"]) > 0


async def test_a_defect_of_ours_is_told_in_the_same_shape(
    ada: ApiClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(api, "list_sessions", broken)
    response = await ada.get(SESSIONS)
    assert error_of(response) == (500, "internal_error", None)
    assert "secret" not in response.text
    assert logged_by_django(caplog) == [f"Internal Server Error: {SESSIONS}"]


async def test_a_foreign_host_is_refused_in_json(ada: ApiClient) -> None:
    assert error_of(await ada.send("GET", SESSIONS, Host="evil.example")) == (400, "invalid_request", None)
