"""One HTTP request: Daphne's, with a bounded body, JSON errors, and a way to break its response off."""

# mypy: disallow-subclassing-any=False
from io import BytesIO
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.web.http_headers import Headers

from jarvis_site.asgi.errors import error_body, error_headers
from jarvis_site.connection import Connection


class Request(WebRequest):
    """One request; its body is bounded while it comes in, its response is broken off if it fails half-way."""

    broken = False
    chunked: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Twisted would parse every form on the event loop (10 MB: 5 s), and Daphne never uses the result.
        super().__init__(*args, **{**kwargs, "parsePOSTFormSubmission": False})

    @property
    def is_over(self) -> bool:
        return bool(self.finished) or self.broken or self.channel is None

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()  # never a file on disk: it is bounded

    def handleContentChunk(self, data: bytes) -> None:
        if self.content.tell() + len(data) > self.server.max_body_bytes:
            self.channel.refuse_body()
        elif self.channel.refused_at is None:
            self.content.write(data)

    def process(self) -> None:
        # There are no WebSockets here: an Upgrade that is not wanted is ignored (RFC 9110, 7.8). The other header lets
        # any client choose where the site's root is.
        self.requestHeaders.removeHeader(b"upgrade")
        self.requestHeaders.removeHeader(b"daphne-root-path")
        super().process()
        # The application has headers and body; a stream would keep them here for its whole life.
        self.requestHeaders: Headers = Headers()
        if self.content is not None and not self.content.closed:
            self.content.seek(0)
            self.content.truncate()

    def write_body(self, data: bytes, *, last: bool) -> None:
        """A part of the body leaves in one send: the first one with the headers, the last one with the final chunk."""
        channel = self.channel
        if self.startedWriting and self.chunked:
            if data:
                channel.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self.write(data)  # Twisted's: writes the headers first, and nothing but them for HEAD
        if last and self.chunked:
            channel.write(b"0\r\n\r\n")
            self.chunked = 0  # `finish`, which has to wait until there is room, would write it again
        channel.flush()

    def write_at_once(self, data: bytes) -> bool:
        """A part of a body that is being sent in chunks; False, and nothing is written, if that would have to wait."""
        channel = self.channel
        if self.finished or self.broken or channel is None:
            return False
        if not (self.startedWriting and self.chunked and channel.full is None):
            return False
        if data:
            channel.write_now(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    def abort(self) -> None:
        """Breaks the response off, so that its client sees that it is not whole; what was written still goes out.

        A body that ends with the connection (HTTP/1.0) can show this by a reset only, which drops what was written.
        """
        if self.is_over:
            return
        self.broken = True
        headers = self.responseHeaders  # `chunked` is 0 again once the final chunk is written
        if headers.hasHeader(b"transfer-encoding") or headers.hasHeader(b"content-length"):
            self.channel.loseConnection()
        else:
            self.channel.transport.abortConnection()

    def handle_exception(self, exception: BaseException) -> None:
        # Daphne starts a second response, which raises in the timer that supervises all of them and so ends it.
        if self._response_started:
            self.abort()
        else:
            self.basic_error(500, b"Internal Server Error", "Something went wrong here. It has been logged.")

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        path = (self.path or b"").decode("latin-1")
        text = error_body(path, status, "invalid_request" if status < 500 else "internal_error", body)
        self.handle_reply({"type": "http.response.start", "status": status, "headers": error_headers(text)})
        self.handle_reply({"type": "http.response.body", "body": text})


class Factory(HTTPFactory):
    protocol = Connection

    def buildProtocol(self, addr: Any) -> Connection:
        connection: Connection = super().buildProtocol(addr)
        connection.requestFactory = Request
        return connection

    def log(self, request: Any) -> None:
        """No access log: Twisted formats a line for each request even if nobody reads it."""
