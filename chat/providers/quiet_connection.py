"""An endpoint's connection that wakes nobody for what comes while its reader is busy, or rests (`events/resting.py`).

To be woken for each token, only to keep it for the next batch, is the dearest part of reading a model: with 40 streams
at 50 tokens/s, a fifth of all that a token costs (#4). So what comes waits in the kernel, and whoever comes back reads
it by hand, in one go. The event loop is still told of the connection's end, and of `WAKES_BYTES`.
"""

import os
import socket
from contextlib import suppress
from typing import Any

import aiohttp

WAKES_BYTES = 64 << 10  # and what is read at once: half of Linux's smallest usual receive buffer, hundreds of tokens


class QuietConnection:
    """Of one response whose body is being read. Under TLS there is no reading by hand, and it stays as it is."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._body = response.content
        self._protocol: Any = None
        self._socket: Any = None
        self._is_quiet = False
        self._silence_seconds: float | None = None
        connection = response.connection  # None: the whole response has come already
        transport = None if connection is None else connection.transport
        if connection is not None and transport is not None and transport.get_extra_info("ssl_object") is None:
            self._protocol, self._socket = connection.protocol, transport.get_extra_info("socket")

    def hush(self) -> None:
        """From now on nobody is woken, until `read` finds nothing. Nor is silence measured: nobody would hear."""
        if self._socket is not None and not self._is_quiet:
            self._is_quiet = True
            self._tell_of(WAKES_BYTES)
            self._silence_seconds = self._protocol.read_timeout
            self._measure_silence(None)

    def read(self) -> bytes:
        """Of the body, what has come since `hush`; b"": it is to be waited for as usual. Raises what `readany` does."""
        if not self._is_quiet:
            return b""
        chunk = self.take()
        if not chunk:
            self.listen()
            chunk = self.take()  # it may have come just before
        return chunk

    def take(self) -> bytes:
        """As `read`, but the quiet goes on."""
        with suppress(OSError):  # nothing is there; or it is broken or closed: the loop meets that, or the end
            if self._is_quiet and (data := os.read(self._socket.fileno(), WAKES_BYTES)):
                self._protocol.data_received(data)
        return self._body.read_nowait()

    def listen(self) -> None:
        """The end of the quiet."""
        if self._is_quiet:
            self._is_quiet = False
            self._tell_of(1)
            self._measure_silence(self._silence_seconds)

    def _tell_of(self, least_bytes: int) -> None:
        if self._socket.fileno() >= 0:  # else it is closed
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least_bytes)

    def _measure_silence(self, seconds: float | None) -> None:
        self._protocol.read_timeout = seconds
        if self._protocol.connected:  # else nothing would ever end the timer
            self._protocol.start_timeout()
