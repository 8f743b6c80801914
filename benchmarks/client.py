"""The common client: one asyncio protocol a connection, which finds tokens in whatever framing they come in."""

import asyncio
import re
import time
from array import array
from collections.abc import Sequence
from typing import cast

from benchmarks.schedule import Schedule, bodies

_TOKEN = re.compile(rb"\xe2\x9f\xa8([0-9]+:[0-9a-f]{8})\xe2\x9f\xa9")
_LONGEST_TOKEN_BYTES = 32
_LAST_CHUNK = b"0\r\n\r\n"


class TokenStream(asyncio.Protocol):
    """Sends `request`, reads tokens of `schedule`, and checks that they come once each and in order.

    `done` is set when all have come (and, if the response `ends`, its end too), or when the connection is lost.
    """

    def __init__(self, request: bytes, schedule: Schedule, *, ends: bool = True) -> None:
        self.schedule = schedule
        self.tokens = 0
        self.received_bytes = 0
        self.error = ""
        self.begun = asyncio.Event()  # set with the first byte of the answer
        self.done = asyncio.Event()
        self.times = array("d")  # of each read that brought tokens
        self.firsts = array("q")  # number of the first of them
        self.counts = array("q")  # how many it brought
        self._request = request
        self._ends = ends
        self._next = 0  # the token that is expected
        self._tail = b""
        self._head = self._last = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's, which does not say so
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self.received_bytes += len(data)
        self._last = data
        if not self._head:
            self._head = data[:300]
            self.begun.set()
            if not data.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101")):
                self._fail(data[:300].decode(errors="replace"))
        whole = self._tail + data if self._tail else data
        found = _TOKEN.findall(whole)
        if found:
            first = self._next
            if found != bodies(first, first + len(found)):
                self._fail(f"expected tokens from {first}, got {found[0]!r} … {found[-1]!r}")
                first = int(found[0].partition(b":")[0])  # else all ages after a loss would be those of other tokens
            self._next = first + len(found)
            self.tokens += len(found)
            self.times.append(now)
            self.firsts.append(first)
            self.counts.append(len(found))
        self._tail = whole[max(whole.rfind(b"\xe2\x9f\xa9") + 3, len(whole) - _LONGEST_TOKEN_BYTES) :]
        if self.tokens >= self.schedule.tokens and (not self._ends or self._tail.endswith(_LAST_CHUNK)):
            self.done.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.begun.set()
        self.done.set()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    @property
    def complete(self) -> bool:
        return self.tokens == self.schedule.tokens and not self.error

    @property
    def trouble(self) -> str:
        """What went wrong, or how an incomplete answer ended; "" for a complete one."""
        if self.error or self.complete:
            return self.error
        return f"{self.tokens} tokens, then {self._last[-200:].decode(errors='replace')!r}"

    def ages(self) -> list[float]:
        """Seconds from each token's due time to its receipt, in order."""
        ages: list[float] = []
        for received, first, count in zip(self.times, self.firsts, self.counts, strict=True):
            ages += [received - self.schedule.due(k) for k in range(first, first + count)]
        return ages

    def tokens_between(self, start: float, end: float) -> int:
        return sum(count for received, count in zip(self.times, self.counts, strict=True) if start <= received < end)

    def _fail(self, error: str) -> None:
        self.error = self.error or error


async def open_stream(port: int, stream: TokenStream) -> None:
    try:
        await asyncio.get_running_loop().create_connection(lambda: stream, "127.0.0.1", port)
    except OSError as error:
        stream.error = repr(error)
        stream.begun.set()
        stream.done.set()


async def wait_for_all(streams: Sequence[TokenStream], until: float) -> None:
    """Until all are done, at most until that time."""
    try:
        async with asyncio.timeout(max(0.0, until - time.monotonic())):
            for stream in streams:
                await stream.done.wait()
    except TimeoutError:
        pass
