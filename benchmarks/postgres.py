"""A PostgreSQL of our own, on the client's core, as Debian sets it up: every commit reaches the disk."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, Self

import psycopg

from benchmarks import machine
from jarvis_site.cluster import private_servers

_START_SECONDS = 30.0


class Rows(NamedTuple):
    inserted: int
    commits: int


class Postgres:
    """Enter it; `url` is an empty database's."""

    def __init__(self) -> None:
        self.port = machine.free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="benchmark-postgres-"))

    async def __aenter__(self) -> Self:
        programs = private_servers.POSTGRES_PLACES[0]
        user: dict[str, Any] = {"cwd": self._folder}
        if os.geteuid() == 0:  # initdb refuses root
            user |= {"user": private_servers.POSTGRES_USER, "group": private_servers.POSTGRES_USER, "extra_groups": ()}
            shutil.chown(self._folder, private_servers.POSTGRES_USER, private_servers.POSTGRES_USER)
        data = self._folder / "data"
        initdb = private_servers.initdb_command(str(programs / "initdb"), data)
        await asyncio.to_thread(lambda: subprocess.run(initdb, stdout=subprocess.DEVNULL, check=True, **user))
        command = private_servers.postgres_command(str(programs / "postgres"), data, self.port)
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **user)  # noqa: ASYNC220  (returns at once)
        async with asyncio.timeout(_START_SECONDS):
            while not await asyncio.to_thread(private_servers.accepts_connections, self.port):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        self.url = await asyncio.to_thread(private_servers.make_database, self.port, "jarvis")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.process.send_signal(signal.SIGINT)  # a SIGTERM would wait for every client to leave
        await asyncio.to_thread(self.process.wait)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def work(self) -> Rows:
        """What it has done so far; sessions tell it about once a second."""
        return await asyncio.to_thread(self._work)

    def _work(self) -> Rows:
        question = "SELECT tup_inserted, xact_commit FROM pg_stat_database WHERE datname = 'jarvis'"
        with psycopg.connect(self.url) as connection:
            row = connection.execute(question).fetchone()
        assert row is not None
        return Rows(*row)
