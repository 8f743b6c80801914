"""A client that does what no library lets it do: half requests, no reading, many connections."""

import select
import socket
import time
from typing import Self

from tests.live.server import Server


class RawClient:
    """One connection. What it reads is kept in `received`."""

    def __init__(self, server: Server, timeout_seconds: float = 10.0, receive_buffer_bytes: int | None = None) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(timeout_seconds)
        if receive_buffer_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._socket.connect(("127.0.0.1", server.port))
        self.port: int = self._socket.getsockname()[1]
        self.received = b""
        self.was_reset = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> bool:
        """False if the server has closed the connection."""
        try:
            self._socket.sendall(data)
        except ConnectionError:
            return False
        return True

    def get(self, path: str, *headers: str, version: str = "1.1") -> None:
        lines = [f"GET {path} HTTP/{version}", "Host: localhost", *headers, "", ""]
        self.send("\r\n".join(lines).encode())

    def read_until(self, marker: bytes) -> bytes:
        """All that was received, once the marker is in it."""
        while marker not in self.received:
            data = self._socket.recv(65536)
            assert data, f"the connection ended before {marker!r}: {self.received!r}"
            self.received += data
        return self.received

    def read_to_end(self) -> bytes:
        """All that was received, once the server has closed or reset the connection (`was_reset`)."""
        try:
            while data := self._socket.recv(65536):
                self.received += data
        except ConnectionError:
            self.was_reset = True
        return self.received

    def read_slowly(self, bytes_per_second: int, seconds: float) -> None:
        """What a bad link takes: a hundredth of it every 10 ms."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.received += self._socket.recv(bytes_per_second // 100)
            select.select([], [], [], 0.01)

    def seconds_until_closed(self) -> float:
        started = time.monotonic()
        self.read_to_end()
        return time.monotonic() - started

    def largest_gap(self, until: float) -> float:
        """Seconds between two arrivals at most, until that time (monotonic)."""
        largest, last = 0.0, time.monotonic()
        while last < until:
            assert self._socket.recv(65536)
            now = time.monotonic()
            largest, last = max(largest, now - last), now
        return largest
