"""A Redis of our own, on the client's core, in memory only."""

import asyncio
import subprocess
import tempfile
from typing import NamedTuple, Self

from benchmarks import machine


class Work(NamedTuple):
    """A read brings one or many commands: those that share a round trip."""

    commands: int
    reads: int


class Redis:
    """Enter it; `url` is where it is."""

    def __init__(self) -> None:
        self.port = machine.free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="benchmark-redis-")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _spawn(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command = ["redis-server", *options, "--dir", self._folder.name]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    async def __aenter__(self) -> Self:
        self._spawn()
        for _ in range(200):
            try:
                await self.work()
                return self
            except OSError:
                await asyncio.sleep(0.05)
        raise RuntimeError("Redis did not start.")

    async def __aexit__(self, *exc: object) -> None:
        self.process.terminate()
        await asyncio.to_thread(self.process.wait)
        self._folder.cleanup()

    async def work(self) -> Work:
        """What it has done so far, this question included."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"INFO stats\r\n")
            size = int((await reader.readline())[1:])
            text = (await reader.readexactly(size)).decode()
        finally:
            writer.close()
        values = dict(line.split(":", 1) for line in text.split() if ":" in line)
        return Work(int(values["total_commands_processed"]), int(values["total_reads_processed"]))
