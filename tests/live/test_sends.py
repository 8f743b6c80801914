"""What leaves in one send, and that nothing waits for the next round of the loop."""

import asyncio
from collections.abc import Iterator

import pytest

from jarvis_site.asgi.response_guard import ResponseGuard
from jarvis_site.asgi.types import Application, Receive, Scope, Send
from tests.live.wire import Wire, connected, settled

MUCH = 8 << 20  # more than the kernel takes at once
ENOUGH = b"x" * MUCH


@pytest.fixture
def wire() -> Iterator[Wire]:
    with connected() as wire:
        yield wire


def answering(*parts: bytes, status: int = 200, length: int | None = None) -> Application:
    headers = [] if length is None else [(b"content-length", b"%d" % length)]

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, part in enumerate(parts, 1):
            await send({"type": "http.response.body", "body": part, "more_body": number < len(parts)})

    return application


async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.get_running_loop().create_future()


def sent(wire: Wire) -> list[bytes]:
    """What each send took, if there is nothing that was left to the reactor."""
    assert not wire.reactor.asked
    return wire.sends


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


CHUNKED = head(b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked")


async def test_the_first_part_leaves_with_the_headers_and_the_last_one_with_the_final_chunk(wire: Wire) -> None:
    wire.answer = answering(b"first", b"second", b"last")
    await wire.ask("GET / HTTP/1.1")
    assert sent(wire) == [CHUNKED + b"5\r\nfirst\r\n", b"6\r\nsecond\r\n", b"4\r\nlast\r\n0\r\n\r\n"]
    assert await wire.read_to_end() == b"".join(wire.sends)


async def test_nothing_is_on_the_wire_before_the_first_part(wire: Wire) -> None:
    go = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await go.wait()
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await receive()
        await receive()

    wire.answer = application
    await wire.ask("GET / HTTP/1.1")
    assert sent(wire) == []
    go.set()
    await settled()
    assert sent(wire) == [CHUNKED]


@pytest.mark.parametrize(
    ("request_line", "application", "response"),
    [
        ("GET / HTTP/1.1", answering(b"only"), CHUNKED + b"4\r\nonly\r\n0\r\n\r\n"),
        ("GET / HTTP/1.1", answering(b""), CHUNKED + b"0\r\n\r\n"),
        ("GET / HTTP/1.1", answering(b"", length=0), head(b"HTTP/1.1 200 OK", b"Content-Length: 0")),
        ("GET / HTTP/1.1", answering(b"four", length=4), head(b"HTTP/1.1 200 OK", b"Content-Length: 4") + b"four"),
        ("HEAD / HTTP/1.1", answering(b"four", b"", length=4), head(b"HTTP/1.1 200 OK", b"Content-Length: 4")),
        ("HEAD / HTTP/1.1", answering(b"", b"four"), head(b"HTTP/1.1 200 OK")),
        ("GET / HTTP/1.1", answering(b"", b"none", status=204), head(b"HTTP/1.1 204 No Content")),
        ("GET / HTTP/1.1", answering(b"none", status=304), head(b"HTTP/1.1 304 Not Modified")),
    ],
)
async def test_a_response_of_one_part_or_none_is_one_send(
    wire: Wire, request_line: str, application: Application, response: bytes
) -> None:
    wire.answer = application
    await wire.ask(request_line)
    assert sent(wire) == [response]
    await wire.ask(request_line)
    assert sent(wire) == [response] * 2, "the connection has stayed"


async def test_requests_that_come_together_are_answered_in_order(wire: Wire) -> None:
    wire.answer = answering(b"first", b"last")
    await wire.ask("GET /1 HTTP/1.1", "HEAD /2 HTTP/1.1", "GET /3 HTTP/1.1")
    whole = [CHUNKED + b"5\r\nfirst\r\n", b"4\r\nlast\r\n0\r\n\r\n"]
    assert sent(wire) == [*whole, head(b"HTTP/1.1 200 OK"), *whole]


async def test_what_the_server_answers_itself_is_one_send(wire: Wire) -> None:
    wire.answer = waiting
    await wire.ask("GET / HTTP/1.1")
    wire.connection.requests[0].handle_exception(RuntimeError())
    (response,) = sent(wire)
    assert response.startswith(b"HTTP/1.1 500 ")
    assert b"internal_error" in response


async def test_what_the_transport_holds_goes_before(wire: Wire) -> None:
    wire.answer = answering(b"first", b"last")
    await wire.ask("GET / HTTP/1.1\r\nExpect: 100-continue")
    assert wire.sends == []
    assert await wire.read_to_end() == b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED + (
        b"5\r\nfirst\r\n4\r\nlast\r\n0\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("request_lines", "response"),
    [
        ("GET / HTTP/1.0", head(b"HTTP/1.0 200 OK") + b"firstlast"),
        (
            "GET / HTTP/1.1\r\nConnection: close",
            head(b"HTTP/1.1 200 OK", b"Connection: close", b"Transfer-Encoding: chunked")
            + b"5\r\nfirst\r\n4\r\nlast\r\n0\r\n\r\n",
        ),
    ],
)
async def test_a_connection_that_is_not_kept_closes_behind_the_last_part(
    wire: Wire, request_lines: str, response: bytes
) -> None:
    wire.answer = answering(b"first", b"last")
    await wire.ask(request_lines)
    assert b"".join(wire.sends) == response
    assert len(wire.sends) == 2
    assert await wire.read_to_end() == response
    assert not wire.transport.connected


@pytest.mark.parametrize(("parts", "length"), [((ENOUGH,), MUCH), ((ENOUGH,), None), ((b"first", ENOUGH), None)])
async def test_the_last_part_waits_for_room_before_the_next_request_is_looked_at(
    wire: Wire, parts: tuple[bytes, ...], length: int | None
) -> None:
    wire.answer = answering(*parts, length=length)
    await wire.ask("GET / HTTP/1.1", "GET / HTTP/1.1")
    assert wire.connection.full is not None
    assert len(wire.connection.requests) == 1
    received = await wire.read_to_end()
    assert wire.connection.full is None
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert received.count(b"x") == 2 * MUCH
    assert received.endswith(b"x\r\n0\r\n\r\n" if length is None else b"x")
    assert received.count(b"0\r\n\r\n") == (2 if length is None else 0)


async def test_a_response_that_only_waits_for_room_is_whole_though_it_is_cancelled(wire: Wire) -> None:
    tasks: list[asyncio.Task[None]] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        await answering(b"first", ENOUGH)(scope, receive, send)

    wire.answer = ResponseGuard(application)
    await wire.ask("GET / HTTP/1.1")
    tasks[0].cancel()
    await asyncio.wait(tasks)
    assert (await wire.read_to_end()).endswith(b"x\r\n0\r\n\r\n")
    assert not wire.transport.connected


async def test_a_broken_socket_is_left_to_the_transport(wire: Wire) -> None:
    wire.answer = answering(b"first", b"last")
    wire.transport.socket.shutdown(1)
    await wire.ask("GET / HTTP/1.1")
    assert wire.sends == []
    assert wire.reactor.asked
    assert await wire.read_to_end() == b""
    assert not wire.transport.connected
