"""What only root may do to a machine: a network of its own, a small disk, another clock. All of it is taken back."""

import asyncio
import ctypes
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

CLONE_NEWNET = 0x40000000
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this to a machine")
needs_networks = pytest.mark.skipif(
    not (shutil.which("ip") and shutil.which("nft")), reason="needs the Debian packages iproute2 and nftables"
)
needs_faketime = pytest.mark.skipif(not FAKETIME, reason="needs the Debian package faketime")


class Network:
    """A network namespace that has a loopback only. What `make_socket` gives lives in it, whoever uses them."""

    def __init__(self) -> None:
        self.name = f"jarvis-{os.getpid()}"

    def __enter__(self) -> "Network":
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        self._own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._other = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._own)
        os.close(self._other)
        run("ip", "netns", "del", self.name)

    def make_socket(self, info: Any = None) -> socket.socket:
        """TCP over IPv4. Also what aiohttp calls a socket factory."""
        _enter(self._other)
        try:
            return socket.socket()
        finally:
            _enter(self._own)

    def listener(self) -> socket.socket:
        listener = self.make_socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        return listener

    @asynccontextmanager
    async def rule(self, *rules: str) -> AsyncIterator[None]:
        """These rules of nftables decide over every packet, for the time of the block."""
        hook = "type filter hook input priority 0"
        await self._nft(f"table inet faults {{ chain incoming {{ {'; '.join([hook, *rules])}; }}; }}")
        try:
            yield
        finally:
            await self._nft("delete table inet faults")

    async def _nft(self, commands: str) -> None:
        await asyncio.to_thread(run, "ip", "netns", "exec", self.name, "nft", commands)


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="jarvis-disk-"))
    run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        run("umount", "--lazy", str(folder))
        folder.rmdir()


def fill(path: Path) -> None:
    """Writes the file until the disk is full."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            while True:
                try:
                    if not file.write(b"\0" * size):
                        break
                except OSError:
                    break


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def _enter(network: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(network, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
