"""One connection in this process: the server's classes, Twisted's transport and a real socket, but no reactor.

What the transport leaves to the reactor waits for `read_to_end`, so that it can be told from what was sent at once.
"""

# mypy: allow-untyped-calls
import asyncio
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet import tcp
from twisted.python.failure import Failure

from jarvis_site.asgi.types import Application, Receive, Scope, Send
from jarvis_site.connection import Connection
from jarvis_site.request import Factory
from jarvis_site.server import Server


class Socket:
    """The server's end; `sends` has what each `send` took."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self.sends: list[bytes] = []

    def send(self, data: Any) -> int:
        taken = self._real.send(data)
        self.sends.append(bytes(data[:taken]))
        return taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Reactor:
    """Knows only whether it has been asked to write."""

    asked = False

    def addReader(self, transport: Any) -> None:
        pass

    def removeReader(self, transport: Any) -> None:
        pass

    def addWriter(self, transport: Any) -> None:
        self.asked = True

    def removeWriter(self, transport: Any) -> None:
        self.asked = False

    def callLater(self, seconds: float, function: Callable[..., None], *args: Any) -> None:
        asyncio.get_running_loop().call_later(seconds, function, *args)


class Wire:
    """`answer` is the application."""

    answer: Application

    def __init__(self, client: socket.socket, accepted: socket.socket) -> None:
        self.client = client
        self.client.setblocking(False)
        self.reactor = Reactor()
        server = Server(self._answer, endpoints=["none"])
        server.connections = {}  # `run` sets it
        self.connection: Connection = Factory(server).buildProtocol(None)
        transport: Any = tcp.Server  # typed by zope interfaces, which mypy does not know
        sock = Socket(accepted)
        self.transport = transport(sock, self.connection, client.getsockname(), None, 0, self.reactor)
        self.connection.makeConnection(self.transport)
        self.sends: list[bytes] = sock.sends

    async def ask(self, *requests: str) -> None:
        """Sends them together, and waits until nothing goes on by itself any more."""
        self.client.sendall("".join(f"{request}\r\nHost: localhost\r\n\r\n" for request in requests).encode())
        select.select([self.transport], [], [], 5)
        self.transport.doRead()
        await settled()

    async def read_to_end(self) -> bytes:
        """All that the client gets while the reactor does what it was asked for."""
        received = bytearray()
        while self.reactor.asked or len(received) < sum(map(len, self.sends)):
            if self.reactor.asked and (reason := self.transport.doWrite()) is not None:
                self.transport.connectionLost(Failure(reason))
            await settled()
            received += self._arrived()
        return bytes(received)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(scope, receive, send)

    def _arrived(self) -> bytes:
        try:
            return self.client.recv(1 << 20)
        except BlockingIOError:
            return b""


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@contextmanager
def connected() -> Iterator[Wire]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        wire = Wire(client, listener.accept()[0])
        try:
            yield wire
        finally:
            wire.transport.connectionLost(Failure(ConnectionAbortedError()))
