"""One TCP connection: how its requests come in, how fast its responses go out, and how it is refused.

Twisted's own limits are an idle time that every byte resets and a size of the headers. What is added here: a time for
the whole request, a size for its body, room for what is sent, refusals that say why, and an end in order.
"""

# mypy: allow-untyped-calls
import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES, HTTPChannel, Request
from twisted.web.http_headers import Headers

from jarvis_site.asgi.errors import error_body, error_headers
from jarvis_site.asgi.headers import completed

if TYPE_CHECKING:
    from jarvis_site.server import Server

# After a refusal the rest of the request is read and thrown away for so long: closing a socket with unread bytes resets
# it, and the client would lose the answer.
LINGER_SECONDS = 5.0


class Connection(HTTPChannel):
    """Twisted's channel, and more; the server calls `check` about once a second, which closes what takes too long."""

    factory: Any
    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.server: Server
        self.full: asyncio.Event | None = None  # while the transport holds more than 64 KiB: set when it has room again
        self.burst = 0  # writes, those at once too, since the response's task last let others run
        self.answering = False  # between a whole request and the end of its response
        self.receiving_since: float | None = None
        self.refused_at: float | None = None
        self._gathered: list[bytes] = []
        self._unsent_bytes = 0
        self._progress_at = 0.0

    # --- coming and going

    def connectionMade(self) -> None:
        super().connectionMade()
        self.server = self.factory.server
        self.receiving_since = time.monotonic()
        if not self.server.connection_opened(self):
            self.refuse(503, "overloaded", "Too many connections; try again in a moment.", retry_after_seconds=2)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._has_room()
        super().connectionLost(reason)
        self.server.connection_closed(self)

    def close_in_order(self) -> None:
        """Ends the connection as soon as the response that is being given is whole."""
        self.persistent = 0
        if self.answering or self.refused_at is not None:
            return
        if self.requests:
            self.refuse(503, "shutting_down", "The server is shutting down; try again.", retry_after_seconds=2)
        else:
            self.loseConnection()

    def check(self, now: float) -> None:
        """Closes a connection that is too slow: at sending its request, at taking its response, at going away."""
        if self.refused_at is not None and now - self.refused_at > LINGER_SECONDS:
            self.transport.abortConnection()
        elif self.receiving_since is not None and now - self.receiving_since > self.server.request_timeout_seconds:
            if self.requests:
                self.refuse(408, "request_timeout", "The request took too long to come.")
            else:
                self.loseConnection()
        self._check_progress(now)

    def _check_progress(self, now: float) -> None:
        transport = self.transport
        unsent_bytes = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        if unsent_bytes == 0 or unsent_bytes != self._unsent_bytes:
            self._unsent_bytes, self._progress_at = unsent_bytes, now
        elif now - self._progress_at >= self.server.send_timeout_seconds:
            self.server.log_cut(self, unsent_bytes)
            transport.abortConnection()

    # --- receiving

    def dataReceived(self, data: bytes) -> None:
        if self.receiving_since is None and not self.answering:
            self.receiving_since = time.monotonic()
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        if self.refused_at is None:
            super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        if self.refused_at is None:
            super().rawDataReceived(data)

    def headerReceived(self, line: bytes) -> bool:
        try:
            return bool(super().headerReceived(line))
        except ValueError:  # a Content-Length of thousands of digits
            self._respondToBadRequestAndDisconnect()
            return False

    def lineLengthExceeded(self, line: bytes) -> None:
        self._respondToBadRequestAndDisconnect()

    def allHeadersReceived(self) -> None:
        if self.length is not None and self.length > self.server.max_body_bytes:
            self.refuse_body()
        else:
            super().allHeadersReceived()

    def allContentReceived(self) -> None:
        if self.refused_at is None:
            self.receiving_since, self.answering = None, True
            super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        self.flush()
        self.answering = False
        super().requestDone(request)

    # --- sending

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        each = ((name, value) for name, values in headers.getAllRawHeaders() for value in values)
        self.write(_head(b"%b %b %b" % (version, code, reason), each))

    def write(self, data: bytes) -> None:
        """Leaves with `flush`, or with the end of its response: left to the transport it costs a round of the loop.

        Measured, 0.25 ms of CPU for the headers and as much for the final chunk.
        """
        self._gathered.append(data)

    def writeSequence(self, parts: Iterable[bytes]) -> None:
        self._gathered += parts

    def flush(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self.write_now(b"".join(gathered))

    def write_now(self, data: bytes) -> None:
        """Hands to the kernel what it takes at once; the transport keeps the rest.

        Twisted alone waits for the next round of its loop, and goes to the kernel three times: measured, 51 µs of CPU
        an event with everything around it instead of 30.
        """
        self.burst += 1
        transport = self.transport
        if not (transport.dataBuffer or transport._tempDataBuffer or transport.disconnecting):
            try:
                taken = transport.socket.send(data)
            except OSError:  # it is full, or broken: then the transport meets the same, and knows what to do
                taken = 0
            if taken == len(data):
                return
            data = data[taken:]
        transport.write(data)

    def pauseProducing(self) -> None:
        if self.full is None:
            self.full = asyncio.Event()
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self._has_room()
        super().resumeProducing()

    def _has_room(self) -> None:
        if self.full is not None:
            self.full.set()
            self.full = None

    # --- refusing

    def refuse_body(self) -> None:
        limit = self.server.max_body_bytes
        self.refuse(413, "too_large", f"The request's body is too large: at most {limit} bytes are accepted.")

    def refuse(self, status: int, code: str, message: str, retry_after_seconds: int | None = None) -> None:
        """Answers a request that has not come whole, and reads no more of it."""
        if self.refused_at is not None:
            return
        self.refused_at = time.monotonic()
        self.setTimeout(None)
        path = getattr(self, "_path", b"").decode("latin-1")
        body = error_body(path, status, code, message)
        headers = [*completed(error_headers(body), path, uuid4().hex), (b"connection", b"close")]
        if retry_after_seconds is not None:
            headers.append((b"retry-after", b"%d" % retry_after_seconds))
        self.transport.unregisterProducer()
        self.transport.write(_head(b"HTTP/1.1 %d %b" % (status, RESPONSES[status]), headers) + body)
        self.transport.loseWriteConnection()
        self.transport.resumeProducing()
        self.dataReceived = _discard  # type: ignore[method-assign]

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(400, "invalid_request", "This is not an HTTP request that can be understood.")


def _head(status_line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"\r\n".join([status_line, *(b"%b: %b" % header for header in headers), b"", b""])


def _discard(data: bytes) -> None:
    """What a refused client still sends."""
