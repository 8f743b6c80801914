"""Whatever a client sends gets the specified refusal, and the server goes on."""

import asyncio
import json
from uuid import uuid4

import pytest

from tests.client import EVENT_STREAM, Client, Reply
from tests.live.raw_client import RawClient
from tests.live.site import SHORT, Site

LARGE = b'{"prompt": "' + b"x" * (2 << 20) + b'"}'
GOOD = {"prompt": SHORT}


async def post(client: Client, body: bytes, *, session: str = "", streamed: bool, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    path = f"/api/sessions/{session or await client.new_session()}/streams/"
    return await client.send("POST", path, body=body, headers={**(EVENT_STREAM if streamed else {}), **named})


NO_PROMPTS: list[tuple[bytes, dict[str, str], tuple[int, str]]] = [
    (b"", {}, (400, "invalid_request")),
    (b'{"prompt": ""}', {}, (400, "invalid_request")),
    (b'{"prompt": "  "}', {}, (400, "invalid_request")),
    (b'{"prompt": 1}', {}, (400, "invalid_request")),
    (b'{"prompt"', {}, (400, "invalid_request")),
    (b'["prompt"]', {}, (400, "invalid_request")),
    (b'{"prompt": NaN}', {}, (400, "invalid_request")),
    (b'{"prompt": "\\ud800"}', {}, (400, "invalid_request")),
    (b'{"prompt": "\xff"}', {}, (400, "invalid_request")),
    (b'{"prompt": "?", "options": {"temperature": 1e999}}', {}, (400, "invalid_request")),
    (b'{"prompt": "?", "options": {"seed": 123456789012345678901234567890}}', {}, (400, "invalid_request")),
    (b'{"prompt": ' + b"[" * 500_000, {}, (400, "invalid_request")),
    (b'{"prompt": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", {}, (400, "invalid_request")),
    (b'{"prompt": "?", "if_busy": "whatever"}', {}, (400, "invalid_request")),
    (b'{"prompt": "?", "surprise": 1}', {}, (400, "invalid_request")),
    (b'{"prompt": "' + b"x" * 200_001 + b'"}', {}, (400, "invalid_request")),
    (LARGE, {}, (413, "too_large")),
    (b'{"prompt": "?", "model": "no such model"}', {}, (404, "model_not_found")),
    (b'{"prompt": "?"}', {"Content_Type": "text/plain"}, (415, "unsupported_media_type")),
    (b"prompt=?", {"Content_Type": "application/x-www-form-urlencoded"}, (415, "unsupported_media_type")),
    (b'{"prompt": "?"}', {"X_CSRFToken": "wrong"}, (403, "forbidden")),
    (b'{"prompt": "?"}', {"Authorization": "Bearer jv-wrong"}, (401, "unauthenticated")),
    (b'{"prompt": "?"}', {"Authorization": ""}, (401, "unauthenticated")),
    (b'{"prompt": "?"}', {"Host": "evil.example"}, (400, "invalid_request")),
    (b'{"prompt": "?"}', {"Idempotency_Key": "k" * 201}, (400, "invalid_request")),
]


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "202"])
@pytest.mark.parametrize(("body", "headers", "error"), NO_PROMPTS)
async def test_a_prompt_that_is_none_is_refused_and_nothing_is_stored(
    site: Site, body: bytes, headers: dict[str, str], error: tuple[int, str], streamed: bool
) -> None:
    async with site.client() as client:
        session = await client.new_session()
        reply = await post(client, body, session=session, streamed=streamed, **headers)
        assert reply.error == error
        assert reply.data["error"]["message"]
        assert reply.headers["Content-Type"].startswith("application/json")
        assert reply.headers["Cache-Control"] == "no-store"
        assert (await client.session(session))["messages"] == []


@pytest.mark.parametrize("session", ["unknown", "foreign", "no-uuid"])
@pytest.mark.parametrize(("method", "path"), [("POST", "streams/"), ("GET", "events/")])
async def test_a_session_that_is_not_the_callers_is_as_one_that_does_not_exist(
    site: Site, session: str, method: str, path: str
) -> None:
    async with site.client() as client, Client(site.server.url) as other:
        ids = {"unknown": str(uuid4()), "foreign": await other.new_session(), "no-uuid": "1"}
        body = json.dumps(GOOD).encode() if method == "POST" else None
        reply = await client.send(method, f"/api/sessions/{ids[session]}/{path}", body=body, headers=EVENT_STREAM)
        assert reply.error == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "streams/", "POST"),
        ("PUT", "streams/", "POST"),
        ("POST", "events/", "GET"),
        ("DELETE", "events/", "GET"),
    ],
)
async def test_a_wrong_method_is_told_the_right_one(site: Site, method: str, path: str, allowed: str) -> None:
    async with site.client() as client:
        reply = await client.send(method, f"/api/sessions/{await client.new_session()}/{path}")
        assert reply.error == (405, "method_not_allowed")
        assert reply.headers["Allow"] == allowed


async def test_a_browser_that_never_opened_the_page_is_nobody(site: Site) -> None:
    async with site.client() as client:
        session = await client.new_session()
        client.http.cookie_jar.clear()
        assert (await client.prompt(session, SHORT)).error == (401, "unauthenticated")


@pytest.mark.parametrize("text", ["nul \0 here", "x\u2028\u2029\x85", "🏳️‍🌈 \u202e", "x" * 200_000, "data: x\n\nid: 9"])
async def test_odd_text_is_a_prompt_like_any_other(site: Site, text: str) -> None:
    async with site.client() as client:
        session = await client.new_session()
        answer = client.ask(session, text)
        assert await answer.until_end() == "completed"
        shown = next(seen.data["text"] for seen in answer.history if seen.type == "chat.prompt")
        stored = (await client.session(session))["messages"][0]["text"]
        assert shown == stored == text.replace("\0", "\ufffd")


def raw(lines: list[str], body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def send_and_leave(site: Site, request: bytes) -> None:
    with RawClient(site.server) as client:
        client.send(request)


async def test_after_all_that_the_server_goes_on(site: Site) -> None:
    nonsense = [b"\x16\x03\x01", b"GET / HTTP/9\r\n\r\n", raw(["POST /api/sessions/ HTTP/1.1"], b"{")]
    for request in nonsense:
        await asyncio.to_thread(send_and_leave, site, request)
    async with site.client() as client:
        assert await client.ask(await client.new_session(), SHORT).until_end() == "completed"
        assert (await client.send("GET", "/healthz")).status == 200
    lines = await site.lines()
    assert not [line for line in lines if line.event == "request_failed"], "no refusal is a defect of ours"
