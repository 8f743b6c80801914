"""The gate before every application (`jarvis_site.asgi`), alone and under all three servers."""

import asyncio
from collections.abc import Iterator

import pytest
from django.conf import settings
from structlog.testing import capture_logs

from chat.exceptions import Forbidden
from events.exceptions import BusClosed
from jarvis_site.asgi import application as site
from jarvis_site.asgi import behind_the_gate
from jarvis_site.asgi.response_guard import ABORT, ResponseGuard
from jarvis_site.asgi.types import Application, Message, Receive, Scope, Send
from tests.live.raw_client import RawClient
from tests.live.server import TEST_APPLICATION, Server, running_server


class Exchange:
    """One request to an application in this process; `sent` holds what it answered."""

    def __init__(self, *body: bytes, path: str = "/", host: str | None = "localhost") -> None:
        headers = [] if host is None else [(b"host", host.encode())]
        self.scope: Scope = {
            "type": "http",
            "path": path,
            "headers": headers,
            "root_path": "",
        }
        chunks = body or (b"",)
        self._messages: list[Message] = [
            {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
            for number, chunk in enumerate(chunks, start=1)
        ]
        self.sent: list[Message] = []
        self.started = asyncio.Event()

    async def run(self, application: Application) -> None:
        await application(self.scope, self.receive, self.send)

    async def receive(self) -> Message:
        return self._messages.pop(0) if self._messages else {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        self.started.set()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def is_whole(self) -> bool:
        return bool(self.sent) and not self.sent[-1].get("more_body", False)

    def header(self, name: str) -> list[bytes]:
        return [value for key, value in self.sent[0]["headers"] if key.lower() == name.encode()]


def answering(*headers: tuple[bytes, bytes], body: bytes = b"") -> Application:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})

    return application


async def breaking_off(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise RuntimeError("secret detail")


async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await asyncio.get_running_loop().create_future()


# --- the guard


async def test_a_failure_before_the_headers_is_a_500_without_details() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("secret detail")

    exchange = Exchange()
    await exchange.run(ResponseGuard(failing))
    assert exchange.status == 500
    assert exchange.is_whole
    assert exchange.header("x-content-type-options") == [b"nosniff"]
    assert b"internal_error" in exchange.sent[1]["body"]
    assert b"secret" not in exchange.sent[1]["body"]


async def test_a_failure_in_mid_stream_ends_the_response_where_it_cannot_be_broken_off() -> None:
    exchange = Exchange()
    await exchange.run(ResponseGuard(breaking_off))
    assert exchange.is_whole


async def test_a_failure_in_mid_stream_breaks_the_connection_where_the_server_can() -> None:
    aborted: list[bool] = []
    exchange = Exchange()
    exchange.scope["extensions"] = {ABORT: lambda: aborted.append(True)}
    await exchange.run(ResponseGuard(breaking_off))
    assert aborted == [True]
    assert not exchange.is_whole


@pytest.mark.parametrize(
    ("error", "lines"),
    [(BusClosed, ["response_cut"]), (Forbidden, ["response_cut"]), (RuntimeError, ["request_failed"])],
)
async def test_a_response_that_outlives_its_process_is_broken_off_and_is_no_defect(
    error: type[Exception], lines: list[str]
) -> None:
    async def outlives(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error

    aborted: list[bool] = []
    exchange = Exchange()
    exchange.scope["extensions"] = {ABORT: lambda: aborted.append(True)}
    with capture_logs() as logs:
        await exchange.run(ResponseGuard(outlives))
    assert aborted == [True]
    assert [line["event"] for line in logs] == lines


async def test_a_cancelled_stream_is_ended_and_stays_cancelled() -> None:
    exchange = Exchange()
    task = asyncio.create_task(exchange.run(ResponseGuard(waiting)))
    await exchange.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert exchange.is_whole


async def test_what_comes_after_the_end_is_dropped() -> None:
    async def talkative(scope: Scope, receive: Receive, send: Send) -> None:
        await answering()(scope, receive, send)
        await send({"type": "http.response.body", "body": b"late"})

    exchange = Exchange()
    await exchange.run(ResponseGuard(talkative))
    assert len(exchange.sent) == 2


def test_the_guard_is_the_outermost_layer_of_the_site() -> None:
    assert isinstance(site, ResponseGuard)


# --- headers


async def test_every_response_gets_the_headers_that_it_lacks() -> None:
    exchange = Exchange()
    await exchange.run(behind_the_gate(answering((b"X-Frame-Options", b"SAMEORIGIN"))))
    assert exchange.header("x-content-type-options") == [b"nosniff"]
    assert exchange.header("referrer-policy") == [b"same-origin"]
    assert exchange.header("x-frame-options") == [b"SAMEORIGIN"]
    assert len(exchange.header("x-request-id")[0]) == 32
    assert exchange.header("cache-control") == []


@pytest.mark.parametrize("path", ["/api/sessions/", "/v1/models", "/elsewhere"])
async def test_what_is_private_is_not_stored(path: str) -> None:
    exchange = Exchange(path=path)
    await exchange.run(behind_the_gate(answering((b"Content-Type", b"text/event-stream; charset=utf-8"))))
    assert exchange.header("cache-control") == [b"no-store"]


async def test_a_cache_control_of_the_application_stays() -> None:
    exchange = Exchange(path="/api/x")
    await exchange.run(behind_the_gate(answering((b"cache-control", b"no-store, no-transform"))))
    assert exchange.header("cache-control") == [b"no-store, no-transform"]


# --- hosts and bodies


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "localhost:8000:1", "local host", None])
async def test_a_foreign_host_is_refused(host: str | None) -> None:
    exchange = Exchange(host=host)
    await exchange.run(behind_the_gate(answering()))
    assert exchange.status == 400
    assert b"invalid_request" in exchange.sent[1]["body"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:80", "[::1]:8000"])
async def test_a_host_of_ours_is_served_at_the_root(host: str) -> None:
    roots: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        roots.append(scope["root_path"])
        await answering()(scope, receive, send)

    exchange = Exchange(host=host)
    exchange.scope["root_path"] = "/evil"
    await exchange.run(behind_the_gate(application))
    assert exchange.status == 200
    assert roots == [""]


async def test_two_hosts_are_refused() -> None:
    exchange = Exchange()
    exchange.scope["headers"] *= 2
    await exchange.run(behind_the_gate(answering()))
    assert exchange.status == 400


async def test_the_application_gets_the_body_in_one_piece() -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        assert not message["more_body"]
        await answering(body=message["body"])(scope, receive, send)
        assert (await receive())["type"] == "http.disconnect"

    exchange = Exchange(b"one", b"", b"two")
    await exchange.run(behind_the_gate(echo))
    assert exchange.sent[1]["body"] == b"onetwo"


@pytest.mark.parametrize(("excess", "status"), [(0, 200), (1, 413)])
async def test_chunks_are_counted(excess: int, status: int) -> None:
    exchange = Exchange(b"x" * settings.CHAT_MAX_BODY_BYTES, b"x" * excess)
    await exchange.run(behind_the_gate(answering()))
    assert exchange.status == status


async def test_a_client_that_leaves_before_the_end_of_its_body_starts_nothing() -> None:
    exchange = Exchange(b"half")
    exchange._messages[0]["more_body"] = True
    await exchange.run(behind_the_gate(answering()))
    assert exchange.sent == []


# --- under each server


@pytest.fixture(scope="module", params=["serve", "daphne", "uvicorn"])
def anywhere(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running_server(runner=request.param, application=TEST_APPLICATION) as server:
        yield server


def answer(server: Server, path: str, *headers: str) -> bytes:
    with RawClient(server) as client:
        client.get(path, "Connection: close", *headers)
        return client.read_to_end()


def test_a_failure_in_mid_stream_leaves_the_server_whole(anywhere: Server) -> None:
    for _ in range(2):
        assert b"data: half" in answer(anywhere, "/fail-after")
        failed = answer(anywhere, "/fail-before")
        assert failed.startswith(b"HTTP/1.1 500 ")
        assert b"internal_error" in failed
    assert answer(anywhere, "/ok").startswith(b"HTTP/1.1 200 ")


def test_a_foreign_host_is_refused_by_consumers_and_by_django(anywhere: Server) -> None:
    for path in ("/ok", "/healthz", "/no/such/path"):
        with RawClient(anywhere) as client:
            client.send(f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
            assert client.read_to_end().startswith(b"HTTP/1.1 400 ")


def test_the_root_path_is_not_the_clients(anywhere: Server) -> None:
    assert b"root_path='' path=/ok" in answer(anywhere, "/ok", "Daphne-Root-Path: /evil")


def test_what_no_route_knows_is_djangos_404(anywhere: Server) -> None:
    assert answer(anywhere, "/no/such/path").startswith(b"HTTP/1.1 404 ")


def test_every_answer_is_marked(anywhere: Server) -> None:
    for path in ("/ok", "/api/ok", "/fail-before", "/unfinished", "/healthz", "/no/such/path"):
        headers = answer(anywhere, path).partition(b"\r\n\r\n")[0].lower()
        for name in (b"x-content-type-options: nosniff", b"referrer-policy: same-origin", b"x-request-id: "):
            assert headers.count(name) == 1, path
