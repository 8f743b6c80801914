"""Several server processes on one database, as they run at scale; each can be killed, frozen and drained by itself."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

from tests.live.server import PROJECT, Runner, Server, environment, running_server

MODEL = "scripted:?tokens=40&rate=100"


_keys: dict[str, str] = {}  # of the databases that were made ready in this run


class Cluster:
    """`settings` are environment variables of all processes. Use as a context manager; that part blocks.

    On PostgreSQL with Redis, or (`database_url` empty) on one SQLite file. Prompts choose their own answers: see
    `chat/providers/scripted.py`. `key` is the API key of the user whose sessions the tests use.
    `folder` holds all data directories, and is removed at the end.
    """

    def __init__(
        self, *, database_url: str = "", redis_url: str = "", folder: Path | None = None, **settings: str
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="jarvis-cluster-"))
        self.settings = {
            "DATABASE_URL": database_url or f"sqlite:///{self.folder}/shared.sqlite3",
            "REDIS_URL": redis_url,
            "CHAT_PROVIDER_URL": MODEL,
            "LOG_LEVEL": "DEBUG",
            **settings,
        }
        self.servers: dict[str, Server] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        database = self.settings["DATABASE_URL"]
        if database not in _keys:
            self.run("migrate", "--noinput", "-v", "0", "--skip-checks")
            _keys[database] = self.run("create_api_key", "somebody", "--create-user").strip()
        self.key = _keys[database]
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
        shutil.rmtree(self.folder, True)

    def run(self, *arguments: str, **settings: str) -> str:
        """What a management command printed."""
        made = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=PROJECT,
            env=environment(self.folder / "manage", {**self.settings, **settings}),
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        return made.stdout

    def serve(self, *names: str, runner: Runner = "serve", **settings: str) -> list[Server]:
        """A process for each name, all of them accepting connections; a name may be started again after its end."""
        with ThreadPoolExecutor() as threads:
            return list(threads.map(lambda name: self._serve(name, runner, settings), names))

    def serve_on(self, listener: socket.socket, name: str, **settings: str) -> Server:
        """A process that accepts at a socket of the caller's choice."""
        return self._serve(name, "serve", settings, listener)

    # --- for async tests: the same, without blocking the loop ---

    async def start(self, *names: str, runner: Runner = "serve", **settings: str) -> list[Server]:
        """See `serve`."""
        return await asyncio.to_thread(partial(self.serve, *names, runner=runner, **settings))

    async def manage(self, *arguments: str, **settings: str) -> str:
        """See `run`."""
        return await asyncio.to_thread(partial(self.run, *arguments, **settings))

    def __getitem__(self, name: str) -> Server:
        return self.servers[name]

    def kill(self, name: str) -> None:
        """As a power cut would."""
        os.kill(self.servers[name].pid, signal.SIGKILL)

    def freeze(self, name: str) -> None:
        os.kill(self.servers[name].pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        os.kill(self.servers[name].pid, signal.SIGCONT)

    async def drain(self, name: str, timeout_seconds: float = 30.0) -> int:
        """Asks it to end, and waits; its exit code."""
        return await asyncio.to_thread(self.servers[name].stop, signal.SIGTERM, timeout_seconds)

    async def log_lines(self, name: str, event: str) -> list[str]:
        """The lines of that event in the log of the process (of all its lives)."""
        text = await asyncio.to_thread(self.servers[name].log_text)
        return [line for line in text.splitlines() if f" {event} " in f"{line} "]

    async def until_logged(self, name: str, event: str, timeout_seconds: float = 10.0) -> list[str]:
        """Its `log_lines`, as soon as there are any."""
        async with asyncio.timeout(timeout_seconds):
            while not (lines := await self.log_lines(name, event)):  # noqa: ASYNC110  (nobody tells of a file's growth)
                await asyncio.sleep(0.05)
        return lines

    def _serve(
        self, name: str, runner: Runner, settings: dict[str, str], listener: socket.socket | None = None
    ) -> Server:
        data_dir = self.folder / name
        data_dir.mkdir(exist_ok=True)
        env = {**self.settings, **settings}
        server = self._stack.enter_context(running_server(runner=runner, data_dir=data_dir, env=env, listener=listener))
        self.servers[name] = server
        return server
