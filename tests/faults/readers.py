"""Viewers with bad manners, or bad luck."""

import asyncio
import socket
import struct
from typing import Any

import aiohttp

from tests.cluster.client import Viewer

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Flapping(Viewer):
    """Its connection is reset after every k-th event."""

    def __init__(self, *arguments: Any, every: int) -> None:
        super().__init__(*arguments)
        self._every, self._left = every, every

    def on_frame(self, response: aiohttp.ClientResponse) -> None:
        self._left -= self.seen[-1].seq is not None
        if self._left <= 0:
            self._left = self._every
            reset(response)


class Stalling(Viewer):
    """Reads nothing after its first event, until it is told to. `received_bytes`: of each connection."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.reads_on = asyncio.Event()
        self.stalled = asyncio.Event()

    async def on_chunk(self) -> None:
        if self.events:
            self.stalled.set()
            await self.reads_on.wait()


def reset(response: aiohttp.ClientResponse) -> None:
    """Cuts the connection, and raises what its reader meets."""
    drop(response)
    raise ConnectionResetError


def drop(response: aiohttp.ClientResponse) -> None:
    """Cuts the connection with an RST, if it is still there."""
    transport = response.connection.transport if response.connection is not None else None
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        transport.abort()
