"""Private servers for the tests: Redis, PostgreSQL and the embedded model, each in a temporary folder of its own.

They start when the first test asks for them and end with the run. Everything here blocks: from an async test, call it
through `asyncio.to_thread`.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jarvis_site.cluster import private_servers
from tests.server_process import Server, program


@pytest.fixture(scope="session")
def redis_server() -> Iterator["RedisServer"]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator["PostgresServer"]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def embedded_model() -> Iterator["EmbeddedModel"]:
    with EmbeddedModel() as model:
        yield model


class TcpServer(Server):
    """A server on a port of 127.0.0.1 that was free a moment ago."""

    def __init__(self) -> None:
        super().__init__()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]

    def is_ready(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


class RedisServer(TcpServer):
    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        return private_servers.redis_command(program("redis-server", "redis-server"), self.port, self.folder)


class PostgresServer(TcpServer):
    user = private_servers.POSTGRES_USER
    end_signal = signal.SIGINT  # at once; SIGTERM would wait for every client to leave
    bin_folders = private_servers.POSTGRES_PLACES

    def __init__(self) -> None:
        super().__init__()
        initdb = program("initdb", "postgresql", self.bin_folders)
        if os.geteuid() == 0:
            shutil.chown(self.folder, self.user, self.user)
        command = private_servers.initdb_command(initdb, self._data)
        made = subprocess.run(command, capture_output=True, cwd=self.folder, **self._as_user())
        if made.returncode:
            pytest.fail(f"initdb: {made.stderr.decode(errors='replace')}", pytrace=False)

    def url(self, database: str) -> str:
        """The address of a database, made empty if it does not exist."""
        return private_servers.make_database(self.port, database)

    def command(self) -> list[str]:
        postgres = program("postgres", "postgresql", self.bin_folders)
        return private_servers.postgres_command(postgres, self._data, self.port)

    def is_ready(self) -> bool:
        return private_servers.accepts_connections(self.port)

    @property
    def _data(self) -> Path:
        return self.folder / "data"


class EmbeddedModel(Server):
    """`python manage.py serve_model`, with `folder` as its data directory."""

    def __init__(self, **settings: str) -> None:
        super().__init__()
        self._settings = settings

    def command(self) -> list[str]:
        return [sys.executable, "manage.py", "serve_model"]

    def environment(self) -> dict[str, str]:
        own = {"JARVIS_DATA_DIR": str(self.folder), "CHAT_PROVIDER_URL": "", "CHAT_MODEL_PATH": "", "CHAT_MODEL": ""}
        return os.environ | own | self._settings

    def details(self) -> dict[str, Any]:
        """What `model.json` says; empty if there is none."""
        try:
            return dict(json.loads((self.folder / "model.json").read_text()))
        except FileNotFoundError:
            return {}

    def is_ready(self) -> bool:
        return self.details().get("state") == "ready"

    def share_with(self, data_dir: Path) -> None:
        """Makes the model the embedded one of a web process that has another data directory."""
        shutil.copy2(self.folder / "model.json", data_dir / "model.json")
