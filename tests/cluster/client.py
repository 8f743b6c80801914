"""A caller of many servers, and who watches a session wherever it is served."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from typing import Any, Self

import aiohttp

from events.core.sse import Decoder
from tests import client
from tests.history import TERMINAL, Seen
from tests.live.server import Server

RETRY_SECONDS = 0.2  # what the server asks for is 1 s; a test is in a hurry


class Client(client.Client):
    """One caller, with an API key."""

    def __init__(self, key: str, **network: Any) -> None:
        super().__init__("", key, **network)

    def at(self, server: Server) -> Self:
        """Whose requests go to this server."""
        there = copy(self)
        there.url = server.url
        return there

    def watch(self, session: str, *servers: Server, after: int | None = 0) -> "Viewer":
        return Viewer(self, session, servers, after)


class Viewer:
    """Watches a session on the first server, and on the next one when that ends or fails. A context manager."""

    def __init__(self, client: Client, session: str, servers: Sequence[Server], after: int | None) -> None:
        self.seen: list[Seen] = []
        self.statuses: list[int] = []  # of every connection
        self.breaks: list[str] = []  # connections that ended without a clean end
        self.after = self.cursor = after
        self._client, self._session, self._servers = client, session, list(servers)
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        await self.until(lambda viewer: viewer.statuses, 20)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def until(self, condition: Callable[["Viewer"], Any], timeout_seconds: float = 15.0) -> float:
        """The monotonic time at which the condition was seen to hold. Raises TimeoutError, with what was seen."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not condition(self):
                    if self._task.done():
                        self._task.result()
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            last = [(seen.seq, seen.type, seen.data) for seen in self.seen[-5:]]
            raise TimeoutError(f"statuses {self.statuses}, breaks {self.breaks}, the last seen: {last}") from None
        return time.monotonic()

    async def end_of(self, stream: str, timeout_seconds: float = 15.0) -> Seen:
        """The stream's terminal event."""
        await self.until(lambda viewer: viewer.ends(stream), timeout_seconds)
        return self.ends(stream)[0]

    async def tokens_of(self, stream: str, count: int = 1, timeout_seconds: float = 15.0) -> None:
        """Returns when so many batches of the stream have been seen."""
        await self.until(lambda viewer: len(viewer.of(stream, "chat.token")) >= count, timeout_seconds)

    def of(self, stream: str, *types: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.type in types and seen.data.get("stream_id") == stream]

    def ends(self, stream: str) -> list[Seen]:
        return [seen for seen in self.of(stream, *TERMINAL) if seen.seq is not None]

    def text(self, stream: str) -> str:
        return "".join(seen.data["text"] for seen in self.of(stream, "chat.token"))

    @property
    def events(self) -> list[Seen]:
        """What came with a seq, snapshots left out."""
        return [seen for seen in self.seen if seen.seq is not None and seen.type != "snapshot"]

    # --- for readers that misbehave ---

    def on_frame(self, response: aiohttp.ClientResponse) -> None:
        """After each frame. May raise ConnectionError: then the rest of what has arrived is lost to this reader."""

    async def on_chunk(self) -> None:
        """Before more is read."""

    # --- inside ---

    async def _watch(self) -> None:
        turn = 0
        while True:
            try:
                await self._connect(self._servers[turn % len(self._servers)])
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self.breaks.append(repr(error))
            turn += 1
            self._news.set()
            await asyncio.sleep(RETRY_SECONDS)

    async def _connect(self, server: Server) -> None:
        headers = {} if self.cursor is None else {"Last-Event-ID": str(self.cursor)}
        url = f"{server.url}/api/sessions/{self._session}/events/"
        async with self._client.http.get(url, headers=headers) as response:
            self.statuses.append(response.status)
            self._news.set()
            if response.status != 200:
                return
            decoder = Decoder()
            async for chunk in response.content.iter_any():
                now = time.monotonic()
                for frame in decoder.feed(chunk):
                    seq = None if frame.id is None else int(frame.id)
                    self.seen.append(Seen(seq, frame.event, json.loads(frame.data), now))
                    if seq is not None:
                        self.cursor = seq
                    self.on_frame(response)
                self._news.set()
                await self.on_chunk()
