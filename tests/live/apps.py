"""Small applications for the tests of the server and its gate: one path, one behaviour."""

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from django.urls import re_path

from jarvis_site.asgi import behind_the_gate, django_application  # isort: skip  (it sets Django up for all that follows)
from chat.urls import stream_urlpatterns  # isort: skip
from jarvis_site.asgi.types import Receive, Scope, Send

STREAM_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8")]


async def _start(send: Send, status: int = 200, headers: list[tuple[bytes, bytes]] = STREAM_HEADERS) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _body(send: Send, body: bytes, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def ok(scope: Scope, receive: Receive, send: Send) -> None:
    """The size of the body, and what the application sees of the request."""
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await _start(send, headers=[(b"content-type", b"text/plain")])
    await _body(send, f"size={size} root_path={scope['root_path']!r} path={scope['path']}".encode())


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(0.5)
    await ok(scope, receive, send)


async def fail_before(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("before the headers")


async def fail_after(scope: Scope, receive: Receive, send: Send) -> None:
    await _start(send)
    await _body(send, b"data: half\n\n", more=True)
    raise RuntimeError("after the headers")


async def unfinished(scope: Scope, receive: Receive, send: Send) -> None:
    await _start(send)
    await _body(send, b"data: half\n\n", more=True)


async def text_header(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [("x-text", "not bytes")]})


async def ticks(scope: Scope, receive: Receive, send: Send) -> None:
    """A tick every 10 ms, until the client leaves; `tick.cleanup` gets a line however it ends."""
    await _start(send)
    left = asyncio.create_task(_left(receive))
    try:
        while not left.done():
            await _body(send, b"data: tick\n\n", more=True)
            await asyncio.sleep(0.01)
    finally:
        left.cancel()
        await asyncio.sleep(0.3)  # a cleanup that takes its time: closing the model's connection, say
        await asyncio.to_thread(_note_cleanup)


def _note_cleanup() -> None:
    with open(Path(os.environ["JARVIS_DATA_DIR"]) / "tick.cleanup", "a") as file:
        file.write("cleanup_done\n")


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def flood(scope: Scope, receive: Receive, send: Send) -> None:
    """`?bytes=`, in pieces of 64 KiB, as fast as they are taken."""
    left = int(parse_qs(scope["query_string"].decode())["bytes"][0])
    await _start(send)
    while left > 0:
        await _body(send, b"x" * min(left, 65536), more=True)
        left -= 65536
    await _body(send, b"")


async def burst(scope: Scope, receive: Receive, send: Send) -> None:
    """`?count=` small events without a pause of its own."""
    await _start(send)
    for number in range(int(parse_qs(scope["query_string"].decode())["count"][0])):
        await _body(send, b"data: %d\n\n" % number, more=True)
    await _body(send, b"")


async def occupy(scope: Scope, receive: Receive, send: Send) -> None:
    """Occupies the one thread that all `sync_to_async` calls of all consumers share, until the client leaves."""
    occupied, left = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def wait() -> None:
        loop.call_soon_threadsafe(occupied.set)
        left.wait()

    await _start(send)
    waiting = asyncio.ensure_future(sync_to_async(wait)())
    await occupied.wait()
    await _body(send, b"data: occupied\n\n", more=True)
    await _left(receive)
    left.set()
    await waiting


async def hold(scope: Scope, receive: Receive, send: Send) -> None:
    """Holds the event loop for `?seconds=`: with `&how=burn` it computes, with `&how=block` it waits."""
    query = parse_qs(scope["query_string"].decode())
    (burn if query["how"] == ["burn"] else block)(float(query["seconds"][0]))
    await _start(send)
    await _body(send, b"held")


def burn(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def block(seconds: float) -> None:
    time.sleep(seconds)


_APPLICATIONS: dict[str, Any] = {
    "ok": ok,
    "slow": slow,
    "api/ok": ok,
    "v1/ok": ok,
    "fail-before": fail_before,
    "fail-after": fail_after,
    "unfinished": unfinished,
    "text-header": text_header,
    "ticks": ticks,
    "flood": flood,
    "burst": burst,
    "hold": hold,
    "occupy": occupy,
}
_routes: list[Any] = [re_path(f"^{path}$", application) for path, application in _APPLICATIONS.items()]
_routes += stream_urlpatterns
unguarded = URLRouter([*_routes, re_path(r"", django_application)])
application = behind_the_gate(unguarded)
