"""The scope extension `events.write` under uvicorn: in order, nothing twice, and refused while there is no room."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from events.consumers import WRITE
from jarvis_site.asgi.response_guard import ResponseGuard
from jarvis_site.asgi.types import Application, Receive, Scope, Send
from jarvis_site.asgi.uvicorn_write import write_of

PIECE = b"%06d" + 4090 * b"."
MANY = 4_000  # 16 MB: more than any kernel takes for who does not read
START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"", "more_body": False}


@asynccontextmanager
async def served(application: Application, protocol: str) -> AsyncIterator[str]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(ResponseGuard(application), http=protocol, lifespan="off", log_level="warning")
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listening])
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        await server.shutdown(sockets=[listening])
        listening.close()


@pytest.mark.parametrize("protocol", ["httptools", "h11"])
async def test_what_is_written_at_once_and_what_is_sent_arrive_in_their_order(protocol: str) -> None:
    refused: list[int] = []
    is_full = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        write: Any = scope["extensions"][WRITE]
        await send(START)
        for number in range(MANY):
            if write(PIECE % number):
                continue
            refused.append(number)
            is_full.set()
            await send({"type": "http.response.body", "body": PIECE % number, "more_body": True})
        await send(END)

    place = 0
    async with (
        served(application, protocol) as url,
        httpx.AsyncClient(timeout=60) as client,
        client.stream("GET", url) as response,
    ):
        await asyncio.wait_for(is_full.wait(), 10)
        assert refused[0] > 0, "what there is room for is not refused"
        async for chunk in response.aiter_bytes(len(PIECE % 0) * 100):
            for start in range(0, len(chunk), len(PIECE % 0)):
                assert chunk[start : start + 6] == b"%06d" % place
                place += 1
    assert place == MANY


async def test_a_uvicorn_that_waits_for_something_else_is_cut_off_rather_than_given_text_twice() -> None:
    class Flow:
        write_paused = False

    class Transport:
        closed = False

        def close(self) -> None:
            self.closed = True

    class Response:
        flow, transport, written = Flow(), Transport(), b""

        async def send(self, message: Any) -> None:
            self.written += message["body"]
            await asyncio.sleep(0)

    response = Response()
    write = write_of(response.send)
    assert write is not None
    assert write(b"text"), "it may have been written, and is not to be sent again"
    assert (response.written, response.transport.closed) == (b"text", True)


async def test_another_servers_send_is_left_alone() -> None:
    scopes: list[Scope] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await send(START)
        await send(END)

    async def send(message: Any) -> None:
        pass

    async def receive() -> Any:
        raise AssertionError

    await ResponseGuard(application)({"type": "http", "path": "/", "headers": []}, receive, send)
    assert WRITE not in scopes[0]["extensions"]
