"""`python -m jarvis_site.cluster`: two web processes, Redis, PostgreSQL and the model behind nginx, until Ctrl-C.

Private and passing: all of it listens on 127.0.0.1, and lies in a temporary folder that goes with it. A process that
ends is started again, as systemd would: kill some, and watch the page. CLUSTER_PORT is nginx's port (8080).
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from jarvis_site.cluster.private_servers import make_database
from jarvis_site.cluster.process import PROJECT_DIR, Process
from jarvis_site.cluster.programs import (
    Failed,
    free_port,
    model_process,
    nginx_process,
    postgres_process,
    redis_process,
    web_process,
)

START_SECONDS = 60.0
WATCH_SECONDS = 1.0  # also the pause before a process is started again


class Cluster:
    """Use as a context manager; all of it has ended and is gone on the way out."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stages: list[list[Process]] = []

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="jarvis-cluster-"))
        self._folder.chmod(0o711)  # root's PostgreSQL and nginx are not root, and get to folders of their own only
        return self

    def __exit__(self, *error: object) -> None:
        """In the opposite order: the web processes drain while all that they need is there."""
        try:
            for stage in reversed(self._stages):
                for process in stage:
                    process.ask_to_end()
                for process in stage:
                    process.wait()
        except KeyboardInterrupt:
            pass  # a second Ctrl-C does not wait for them
        finally:
            for process in self._processes():
                process.kill()
            shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Returns when a prompt would be answered. Raises Failed."""
        _must_be_free(self._port)
        say(f"A cluster on this machine. What its processes say is in {self._folder}/, until the end.")
        redis_port, postgres_port, *web_ports = (free_port() for _ in range(4))
        self._start_stage(redis_process(self._folder, redis_port), postgres_process(self._folder, postgres_port))
        environment = os.environ | {
            "JARVIS_DATA_DIR": str(self._folder / "data"),
            "DATABASE_URL": make_database(postgres_port, "jarvis"),
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "HOST": "127.0.0.1",
            "ALLOWED_HOSTS": "127.0.0.1,localhost",
            "HTTPS": "false",
            "PYTHONUNBUFFERED": "1",
        }
        self._prepare(environment | {"PORT": str(self._port)})
        self._start_stage(nginx_process(self._folder, self._port, web_ports))
        web = [web_process(self._folder, number, port, environment) for number, port in enumerate(web_ports, 1)]
        self._start_stage(model_process(self._folder, environment), *web)
        say(f"\n  Everything is ready. Open http://127.0.0.1:{self._port}/ (Ctrl-C ends it)\n")

    def watch(self) -> None:
        """Starts again what has ended, for ever."""
        while True:
            time.sleep(WATCH_SECONDS)
            for process in self._processes():
                if (code := process.ended_with()) is not None:
                    process.start()
                    how = f"signal {-code}" if code < 0 else f"exit code {code}"
                    say(f"  {process.name} has ended ({how}) and is started again, pid {process.pid}")

    def _processes(self) -> list[Process]:
        return [process for stage in self._stages for process in stage]

    def _start_stage(self, *processes: Process) -> None:
        self._stages.append(list(processes))
        for process in processes:
            process.start()
        deadline = time.monotonic() + START_SECONDS
        for process in processes:
            while not process.is_ready(process):
                if process.ended_with() is not None or time.monotonic() > deadline:
                    raise Failed(f"{process.name} did not start:\n{process.last_words()}")
                time.sleep(0.05)
            say(f"  {process.name}, pid {process.pid}")

    def _prepare(self, environment: dict[str, str]) -> None:
        """Migrates, and shows the first password and key."""
        if subprocess.run([sys.executable, "manage.py", "prepare"], cwd=PROJECT_DIR, env=environment).returncode:
            raise Failed("The database could not be prepared.")


def _must_be_free(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except (OSError, OverflowError) as error:
        raise Failed(f"Cannot listen on 127.0.0.1, port {port}: {error}. Choose another with CLUSTER_PORT.") from None


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts what runs in its background deaf to Ctrl-C
        signal.signal(number, signal.default_int_handler)
    port = os.environ.get("CLUSTER_PORT") or "8080"
    try:
        if not port.isdecimal():
            raise Failed(f"CLUSTER_PORT={port!r} is no port.")
        with Cluster(int(port)) as cluster:
            cluster.start()
            cluster.watch()
    except Failed as reason:
        print(reason, file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
