"""An endpoint's connection that wakes nobody for what comes while its reader is busy, or rests (`events/resting.py`).

To be woken for each token, only to keep it for the next batch, is the dearest part of reading a model: with 40 streams
at 50 tokens/s, a fifth of all that a token costs (#4). So what comes waits in the kernel, and whoever comes back reads
it by hand, in one go. The event loop is still told of the connection's end, and of `WAKES_BYTES`.
"""

import os
import socket
from typing import Any

import aiohttp

WAKES_BYTES = 64 << 10  # half of what Linux's smallest usual receive buffer holds; hundreds of tokens
_AT_ONCE_BYTES = 64 << 10


class QuietConnection:
    """Of one response whose body is being read. Under TLS there is no reading by hand, and it stays as it is."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._body = response.content
        self._protocol: Any = None
        self._socket: Any = None
        self._is_quiet = False
        connection = response.connection  # None: the whole response has come already
        transport = None if connection is None else connection.transport
        if connection is not None and transport is not None and transport.get_extra_info("ssl_object") is None:
            self._protocol, self._socket = connection.protocol, transport.get_extra_info("socket")

    def hush(self) -> None:
        """From now on nobody is woken, until `read` finds nothing."""
        if self._socket is not None and not self._is_quiet:
            self._tell_of(WAKES_BYTES)
            self._is_quiet = True

    def read(self) -> bytes:
        """Of the body, what has come since `hush`; b"": it is to be waited for as usual. Raises what `readany` does."""
        if not self._is_quiet:
            return b""
        chunk = self._take()
        if not chunk:
            self.listen()
            chunk = self._take()  # it may have come just before
        return chunk

    def listen(self) -> None:
        """The end of the quiet."""
        if self._is_quiet:
            self._is_quiet = False
            self._tell_of(1)

    def _take(self) -> bytes:
        try:
            data = os.read(self._socket.fileno(), _AT_ONCE_BYTES)
        except OSError:  # nothing is there; or it is broken or closed, which the loop is told of
            return b""
        if data:
            self._protocol.data_received(data)
        return self._body.read_nowait()

    def _tell_of(self, least_bytes: int) -> None:
        if self._socket.fileno() >= 0:  # else it is closed
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least_bytes)
