"""Bodies, time and connections have bounds, and who is refused is told so."""

import json
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.live.conftest import StartServer
from tests.live.raw_client import RawClient
from tests.live.server import TEST_APPLICATION, Runner, Server, wait_until

MEBIBYTE = 1 << 20


def error_of(response: bytes) -> dict[str, str]:
    error: dict[str, str] = json.loads(response.partition(b"\r\n\r\n")[2])["error"]
    return error


def post(client: RawClient, path: str, *headers: str) -> None:
    client.send("\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode())


def is_served(server: Server) -> bool:
    with RawClient(server) as client:
        client.get("/ok", "Connection: close")
        return client.read_to_end().startswith(b"HTTP/1.1 200 ")


def test_a_declared_length_above_the_limit_is_refused_before_the_body(served: Server) -> None:
    with RawClient(served) as client:
        post(client, "/ok", f"Content-Length: {64 * MEBIBYTE}", "Expect: 100-continue")
        response = client.read_to_end()
    assert response.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in response
    assert error_of(response)["code"] == "too_large"


@pytest.mark.parametrize("framing", [f"Content-Length: {64 * MEBIBYTE}", "Transfer-Encoding: chunked"])
def test_64_mebibytes_are_refused_in_bounded_memory(served: Server, framing: str) -> None:
    before = served.memory_bytes()
    chunk = b"x" * MEBIBYTE if "Length" in framing else b"100000\r\n%b\r\n" % (b"x" * MEBIBYTE)
    with RawClient(served) as client:
        post(client, "/ok", framing)
        for _ in range(64):
            assert client.send(chunk), "many clients look for an answer only when they have sent everything"
        response = client.read_until(b"too_large")
    assert response.startswith(b"HTTP/1.1 413 ")
    assert served.memory_bytes() - before < 10 * MEBIBYTE


@pytest.mark.parametrize("framing", ["Content-Length: 1048576", "Transfer-Encoding: chunked"])
def test_a_body_of_just_the_limit_is_accepted(served: Server, framing: str) -> None:
    body = b"x" * MEBIBYTE
    with RawClient(served) as client:
        post(client, "/ok", framing)
        client.send(body if "Length" in framing else b"100000\r\n%b\r\n0\r\n\r\n" % body)
        client.read_until(b"size=1048576")


@pytest.mark.parametrize("runner", ["daphne", "uvicorn"])
@pytest.mark.parametrize("framing", [f"Content-Length: {2 * MEBIBYTE}", "Transfer-Encoding: chunked"])
def test_the_gate_alone_refuses_large_bodies(start_server: StartServer, runner: Runner, framing: str) -> None:
    unwatched = {"PYTHONPATH": ""} if runner == "daphne" else {}  # alone it writes bodies to files, on the loop
    server = start_server(runner=runner, application=TEST_APPLICATION, env=unwatched)
    with RawClient(server) as client:
        post(client, "/ok", framing)
        client.send(
            b"x" * 2 * MEBIBYTE if "Length" in framing else b"200000\r\n%b\r\n0\r\n\r\n" % (b"x" * 2 * MEBIBYTE)
        )
        assert client.read_until(b"too_large").startswith(b"HTTP/1.1 413 ")


def test_below_v1_a_refusal_has_openais_shape(served: Server) -> None:
    with RawClient(served) as client:
        post(client, "/v1/chat/completions", f"Content-Length: {2 * MEBIBYTE}")
        error = error_of(client.read_to_end())
    assert error["type"] == "invalid_request_error"
    assert "param" in error


@pytest.mark.parametrize(
    "beginning", [b"", b"GET /ok HTTP/1.1\r\nHost: loc", b"GET /ok HTTP/1.1\r\nHost: localhost\r\n"]
)
def test_a_request_that_drips_is_closed_however_often_a_byte_comes(served: Server, beginning: bytes) -> None:
    with RawClient(served, timeout_seconds=0.2) as client:
        client.send(beginning)
        started = time.monotonic()
        while True:
            try:
                client.send(b"x")
                if not client._socket.recv(65536):
                    break
            except TimeoutError:
                assert time.monotonic() - started < 10
            except ConnectionError:
                break
    assert time.monotonic() - started > 1.5, "a client has REQUEST_TIMEOUT_SECONDS"


def test_a_body_that_drips_is_closed(served: Server) -> None:
    with RawClient(served) as client:
        post(client, "/ok", "Content-Length: 100")
        client.send(b"x")
        assert client.read_to_end().startswith(b"HTTP/1.1 408 ")


def test_a_pipelined_request_that_drips_is_closed(served: Server) -> None:
    with RawClient(served) as client:
        client.send(b"GET /ok HTTP/1.1\r\nHost: localhost\r\n\r\nGET /ok HTTP/1.1\r\nHost:")
        assert client.read_to_end().count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 408 " in client.received


def test_a_long_response_is_no_slow_request(served: Server) -> None:
    with RawClient(served) as client:
        client.get("/ticks")
        client.largest_gap(until=time.monotonic() + 4)  # twice REQUEST_TIMEOUT_SECONDS


def test_a_connection_too_many_is_told_to_come_back(start_server: StartServer) -> None:
    server = start_server(application=TEST_APPLICATION, env={"MAX_CONNECTIONS": "3"})
    with ExitStack() as stack:
        viewers = [stack.enter_context(RawClient(server)) for _ in range(3)]
        for viewer in viewers:
            viewer.get("/ticks")
            viewer.read_until(b"tick")
        started = time.monotonic()
        refused = stack.enter_context(RawClient(server))
        refused.get("/ok")
        response = refused.read_to_end()
        assert time.monotonic() - started < 0.5
        assert response.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: " in response.lower()
        assert error_of(response)["code"] == "overloaded"
        assert viewers[0].largest_gap(until=time.monotonic() + 0.5) < 0.3
        viewers.pop().close()
        wait_until(lambda: is_served(server))  # the room is given back, though who was refused is still there


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /ok HTTP/1.1\r\nHost: localhost\r\nno colon\r\nX: y\r\n\r\n",
        b"GET /ok HTTP/1.1\r\nHost: localhost\r\nX: %b\r\n\r\n" % (b"y" * 20_000),
        b"POST /ok HTTP/1.1\r\nHost: localhost\r\nContent-Length: %b\r\n\r\n" % (b"9" * 5000),
        b"POST /ok HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /ok HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_request_is_a_400(served: Server, request_bytes: bytes) -> None:
    with RawClient(served) as client:
        client.send(request_bytes)
        response = client.read_until(b"}}")
    assert response.startswith(b"HTTP/1.1 400 ")
    assert error_of(response)["code"] == "invalid_request"
    assert b"x-content-type-options: nosniff" in response.lower()
    assert "Traceback" not in served.log_text()


def test_a_vanished_peer_is_noticed_by_the_kernel(served: Server) -> None:
    """Each connection has a keep-alive timer running, which it has from the listener."""
    with RawClient(served) as client:
        client.get("/ok")
        client.read_until(b"size=0")
        ends = f":{served.port:04X} 0100007F:{client.port:04X} "
        line = next(line for line in Path("/proc/net/tcp").read_text().splitlines() if ends in line)
        assert line.split()[5].startswith("02:")
