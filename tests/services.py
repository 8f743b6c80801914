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

import psycopg
import pytest
from psycopg import sql

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
        redis = program("redis-server", "redis-server")
        address = ["--bind", "127.0.0.1", "--port", str(self.port)]
        return [redis, *address, "--save", "", "--appendonly", "no", "--dir", str(self.folder)]


class PostgresServer(TcpServer):
    user = "postgres"  # `initdb` refuses root
    end_signal = signal.SIGINT  # at once; SIGTERM would wait for every client to leave
    bin_folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)

    def __init__(self) -> None:
        super().__init__()
        initdb = program("initdb", "postgresql", self.bin_folders)
        if os.geteuid() == 0:
            shutil.chown(self.folder, self.user, self.user)
        form = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        made = subprocess.run(
            [initdb, "--pgdata", str(self._data), *form], capture_output=True, cwd=self.folder, **self._as_user()
        )
        if made.returncode:
            pytest.fail(f"initdb: {made.stderr.decode(errors='replace')}", pytrace=False)

    def url(self, database: str) -> str:
        """The address of a database, made empty if it does not exist."""
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self._url(database)

    def command(self) -> list[str]:
        postgres = program("postgres", "postgresql", self.bin_folders)
        settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}", "max_connections=200"]
        options = [word for setting in settings for word in ("-c", setting)]
        return [postgres, "-D", str(self._data), "-p", str(self.port), *options]

    def is_ready(self) -> bool:
        try:
            psycopg.connect(self._url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _url(self, database: str) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"


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
