"""A response that is watched for words: when did which arrive."""

import asyncio
import time
from typing import Self, cast


class Recorder(asyncio.Protocol):
    """Everything received, each read with its time. Open it with `connect`."""

    def __init__(self, request: bytes) -> None:
        self.reads: list[tuple[float, bytes]] = []
        self.closed = False
        self._request = request
        self._news = asyncio.Event()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def connect(cls, port: int, request: bytes) -> Self:
        recorder = cls(request)
        await asyncio.get_running_loop().create_connection(lambda: recorder, "127.0.0.1", port)
        return recorder

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.reads.append((time.monotonic(), data))
        self._news.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._news.set()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.reads)

    async def when(self, words: bytes, seconds: float = 20.0) -> float:
        """The time at which these words had arrived. Raises TimeoutError, ConnectionError."""
        searched, tail = 0, b""
        async with asyncio.timeout(seconds):
            while True:
                self._news.clear()
                for received, data in self.reads[searched:]:
                    if words in (tail := tail + data):
                        return received
                    tail = tail[max(0, len(tail) - len(words) + 1) :]  # what words cut in two may begin in
                    searched += 1
                if self.closed:
                    so_far = self.data
                    raise ConnectionError(f"closed before {words!r}: {so_far[:200]!r} … {so_far[-300:]!r}")
                await self._news.wait()
