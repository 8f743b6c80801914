"""A real server process for a test: its own data directory, a free port, nothing of the caller's environment."""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

from tests.blocking import assert_nothing_blocked, watched

PROJECT = Path(__file__).resolve().parent.parent.parent
PRODUCT = "jarvis_site.asgi:application"
TEST_APPLICATION = "tests.live.apps:application"
START_SECONDS = 60.0

Runner = Literal["serve", "daphne", "uvicorn"]


class Server:
    """`url` has no slash at its end. `stop` asks and waits, `kill` does not ask; both may be called twice."""

    def __init__(self, process: subprocess.Popen[str], data_dir: Path, port: int) -> None:
        self.process, self.data_dir, self.port = process, data_dir, port
        self.url = f"http://127.0.0.1:{port}"
        self.pid = process.pid

    def log_text(self) -> str:
        """`system.log`, as far as it is written."""
        path = self.data_dir / "logs" / "system.log"
        return path.read_text() if path.exists() else ""

    def error_text(self) -> str:
        """What the process has written to its standard error."""
        return (self.data_dir / f"stderr.{self.pid}").read_text()

    def memory_bytes(self) -> int:
        """What it holds now (resident)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_seconds: float = 30.0) -> int:
        """Sends the signal and returns the exit code."""
        self.process.send_signal(number)
        return self.wait(timeout_seconds)

    def wait(self, timeout_seconds: float = 30.0) -> int:
        return self.process.wait(timeout_seconds)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running_server(
    *,
    runner: Runner = "serve",
    application: str = PRODUCT,
    data_dir: Path | None = None,
    listener: socket.socket | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """A server that accepts connections; it is killed on the way out. Fails if its event loop was ever blocked.

    It gets a listening socket as a descriptor: the caller's `listener`, which stays open here and may be given to
    several servers, or one of its own. `data_dir` is kept, a temporary one is not.
    """
    directory = data_dir or Path(tempfile.mkdtemp(prefix="jarvis-"))
    own_listener = listener or socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = None
    try:
        server = _start(runner, application, directory, own_listener, env or {})
        if listener is None:
            own_listener.close()  # else nobody would notice that the server has stopped listening
        yield server
        assert_nothing_blocked(directory)
    finally:
        if server is not None:
            server.kill()
            assert server.process.stdout is not None
            server.process.stdout.close()
        if listener is None:
            own_listener.close()
        if data_dir is None:
            shutil.rmtree(directory, ignore_errors=True)


def environment(data_dir: Path, env: Mapping[str, str]) -> dict[str, str]:
    """What a process of the project is started with: nothing that is set by chance."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **watched(data_dir), "JARVIS_DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1", **env}


def wait_until(condition: Callable[[], object], timeout_seconds: float = 10.0) -> None:
    """Returns as soon as the condition holds; fails the test if it does not in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        select.select([], [], [], 0.01)


def _start(runner: Runner, application: str, data_dir: Path, listener: socket.socket, env: Mapping[str, str]) -> Server:
    fd, port = listener.fileno(), listener.getsockname()[1]
    commands: dict[Runner, list[str]] = {
        "serve": ["manage.py", "serve", "--fd", str(fd), "--application", application],
        "daphne": ["-m", "daphne", "--fd", str(fd), "-v", "0", application],
        "uvicorn": ["-m", "uvicorn", "--fd", str(fd), "--log-level", "warning", application],
    }
    if "DATABASE_URL" not in env and not (data_dir / "jarvis.sqlite3").exists():
        shutil.copy(_migrated_database(), data_dir / "jarvis.sqlite3")
    data_dir.mkdir(parents=True, exist_ok=True)
    stderr_path = data_dir / "stderr.starting"
    with stderr_path.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, *commands[runner]],
            cwd=PROJECT,
            env=environment(data_dir, env),
            pass_fds=[fd],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    stderr_path.rename(data_dir / f"stderr.{process.pid}")
    server = Server(process, data_dir, port)
    try:
        _wait_until_ready(server, says_so=runner == "serve")
    except BaseException:
        server.kill()
        assert process.stdout is not None
        process.stdout.close()
        raise
    return server


def _wait_until_ready(server: Server, *, says_so: bool) -> None:
    stdout = server.process.stdout
    assert stdout is not None
    if says_so:
        readable, _, _ = select.select([stdout], [], [], START_SECONDS)
        line = stdout.readline() if readable else ""
        assert line == f"Jarvis is ready at {server.url}/\n", f"{line!r}\n{server.error_text()}"
        return
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert server.process.poll() is None, server.error_text()
        try:
            with urllib.request.urlopen(f"{server.url}/healthz", timeout=2) as response:
                assert response.status == 200
                return
        except TimeoutError:
            assert time.monotonic() < deadline, server.error_text()


@cache
def _migrated_database() -> Path:
    """Made once for all servers of a test run, since migrations take longer than the start."""
    directory = Path(tempfile.mkdtemp(prefix="jarvis-template-"))
    command = [sys.executable, "manage.py", "migrate", "--noinput", "-v", "0", "--skip-checks"]
    subprocess.run(command, cwd=PROJECT, env=environment(directory, {}), check=True, capture_output=True)
    return directory / "jarvis.sqlite3"
