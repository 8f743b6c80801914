"""One HTTP connection to a consumer, driven by hand: Channels' own communicator waits for the end of a response."""

import asyncio
from typing import Any

from events.consumers import WRITE
from events.core.sse import Decoder, Frame
from tests.events.conftest import until

SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}


class Connection:
    """A client that has sent its request. What comes after the last body is an error, as it is to a server."""

    writes_at_once = False  # whether its server can write without being awaited

    def __init__(self, consumer: Any, *bodies: bytes, complete: bool = True) -> None:
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.finished = False
        self.reads = asyncio.Event()  # cleared, the client takes nothing, and the server makes the sender wait
        self.reads.set()
        self.at_once = 0  # parts that were written so
        self._from_client: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for number, body in enumerate(bodies or [b""], 1):
            more = not complete or number < len(bodies)
            self._from_client.put_nowait({"type": "http.request", "body": body, "more_body": more})
        extensions = {WRITE: self._write} if self.writes_at_once else {}
        scope = {**SCOPE, "extensions": extensions}
        self.app = asyncio.ensure_future(consumer(scope, self._from_client.get, self._send))

    @property
    def frames(self) -> list[Frame]:
        return Decoder().feed(self.body)

    def of(self, type: str) -> list[Frame]:
        return [frame for frame in self.frames if frame.event == type]

    def leaves(self) -> None:
        self._from_client.put_nowait({"type": "http.disconnect"})

    async def has(self, count: int, type: str = "test.text") -> None:
        """Waits for so many frames of the type."""
        await until(lambda: len(self.of(type)) >= count)

    async def ended(self) -> None:
        """Waits for the end of the application; raises what it raised."""
        async with asyncio.timeout(5):
            await self.app

    def _write(self, data: bytes) -> bool:
        assert not self.finished, f"after the last body: {data!r}"
        assert self.status is not None, "a body before the headers"
        if not self.reads.is_set():
            return False
        self.body += data
        self.at_once += 1
        return True

    async def _send(self, message: dict[str, Any]) -> None:
        assert not self.finished, f"after the last body: {message}"
        await self.reads.wait()
        if message["type"] == "http.response.start":
            assert self.status is None, "two responses"
            self.status, self.headers = message["status"], dict(message["headers"])
            return
        assert self.status is not None, "a body before the headers"
        self.body += message.get("body", b"")
        self.finished = not message.get("more_body", False)
