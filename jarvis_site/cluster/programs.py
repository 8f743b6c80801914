"""The processes that a cluster consists of, each with a folder of its own below the cluster's; none is started here."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from jarvis_site.cluster import nginx, private_servers
from jarvis_site.cluster.process import Process, as_user


class Failed(Exception):
    """Why there is no cluster, in a sentence."""


def redis_process(folder: Path, port: int) -> Process:
    output = _output(folder, "redis")
    command = private_servers.redis_command(_program("redis-server"), port, output.parent)
    return Process("redis", command, output, lambda _: listens(port))


def postgres_process(folder: Path, port: int) -> Process:
    """With an empty database."""
    output, user = _output(folder, "postgresql"), private_servers.POSTGRES_USER
    if os.geteuid() == 0:
        shutil.chown(output.parent, user, user)
    places, data = private_servers.POSTGRES_PLACES, output.parent / "data"
    initdb = private_servers.initdb_command(_program("initdb", places), data)
    made = subprocess.run(  # noqa: S603  (our own command)
        initdb, capture_output=True, text=True, cwd=output.parent, **as_user(user)
    )
    if made.returncode:
        raise Failed(f"initdb: {made.stderr}")
    return Process(
        "postgresql",
        private_servers.postgres_command(_program("postgres", places), data, port),
        output,
        lambda _: private_servers.accepts_connections(port),
        user=user,
        end_signal=signal.SIGINT,  # at once; SIGTERM would wait for every client to leave
    )


def nginx_process(folder: Path, port: int, web_ports: Sequence[int]) -> Process:
    output = _output(folder, "nginx")
    nginx.write_config(output.parent, port, web_ports)
    command = nginx.nginx_command(_program("nginx", [Path("/usr/sbin")]), output.parent)
    return Process("nginx", command, output, lambda _: listens(port))


def web_process(folder: Path, number: int, port: int, environment: Mapping[str, str]) -> Process:
    command = [sys.executable, "manage.py", "serve"]
    output = _output(folder, f"web-{number}")
    environment = {**environment, "PORT": str(port)}
    return Process(f"web-{number}", command, output, lambda it: it.has_said("Jarvis is ready at"), environment)


def model_process(folder: Path, environment: Mapping[str, str]) -> Process:
    command = [sys.executable, "manage.py", "serve_model"]
    output = _output(folder, "model")
    return Process("model", command, output, lambda it: it.has_said("The model is ready"), environment)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _output(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name / "output"


def _program(name: str, places: Sequence[Path] = ()) -> str:
    path = shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ.get("PATH", os.defpath)]))
    if path is None:
        raise Failed(f"{name} is missing; `make cluster` installs it from Debian.")
    return path
