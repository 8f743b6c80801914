"""An OpenAI-compatible endpoint that does what it is told and records what is done to it.

In a test: `async with ScriptedEndpoint() as endpoint:`. By itself: `python -m tests.scripted_endpoint --port N`.
A last user message, else a model, `scripted:?tokens=100&rate=50` chooses the answer: see `scripted_answers.Script`.
`GET /_record` tells of every chat completion when it came, how many tokens went out, and when its socket closed, on
the monotonic clock that all processes of a machine share; `DELETE /_record` forgets.
It carries 100 streams at 50 tokens/s in a few per cent of a core: one timer serves all.
"""

import argparse
import asyncio
import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from tests.scripted_answers import Script
from tests.scripted_connection import Answer, Connection, Record

TICK_SECONDS = 0.004


class ScriptedEndpoint:
    """The server. `records` is what happened so far; `until` waits for it."""

    def __init__(self, port: int = 0, script: Script | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self._tls = tls
        self.script = script or Script()
        self.models = ["scripted"]
        self.records: list[Record] = []
        self.connections: set[Connection] = set()
        self.running: set[Answer] = set()
        self._timer: asyncio.Handle | None = None
        self._news = asyncio.Event()

    @property
    def url(self) -> str:
        """What CHAT_PROVIDER_URL is set to."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> "ScriptedEndpoint":
        loop = asyncio.get_running_loop()
        here = "127.0.0.1", self.port
        self._server = await loop.create_server(lambda: Connection(self), *here, backlog=2048, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        if self._timer:
            self._timer.cancel()
        await self._server.wait_closed()

    async def until(self, condition: Callable[["ScriptedEndpoint"], Any], timeout: float = 10) -> float:
        """Wait until the condition holds; the monotonic time at which it was seen to. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while not condition(self):
                self._news.clear()
                await self._news.wait()
        return time.monotonic()

    def changed(self) -> None:
        self._news.set()

    def begin(self, answer: Answer) -> None:
        self.running.add(answer)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_soon(self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        for answer in list(self.running):
            if not answer.advance(now):
                self.running.discard(answer)
        self.changed()
        loop = asyncio.get_running_loop()
        if any(a.hurries and now >= a.starts_at for a in self.running):
            self._timer = loop.call_soon(self._tick)
        else:
            self._timer = loop.call_later(TICK_SECONDS, self._tick) if self.running else None


async def _serve(port: int, script: Script) -> None:
    async with ScriptedEndpoint(port, script) as endpoint:
        print(endpoint.url, flush=True)  # noqa: T201 whoever started it waits for this line
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", default="scripted:?tokens=20", help="the answer to prompts that choose none")
    options = parser.parse_args()
    asyncio.run(_serve(options.port, Script.parse(options.script)))
