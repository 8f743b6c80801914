"""The commands that a newcomer types."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.blocking import assert_nothing_blocked, watched
from tests.server_process import Server, eventually, processes_of

PROJECT_DIR = Path(__file__).resolve().parent.parent


# --- make


def test_help_shows_every_target_and_is_the_default() -> None:
    makefile = (PROJECT_DIR / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    shown = subprocess.run(["make"], cwd=PROJECT_DIR, capture_output=True, text=True, check=True).stdout
    assert targets
    assert set(targets[1].split()) == set(re.findall(r"^  make (\S+) +\S", shown, flags=re.MULTILINE))


def test_the_procfile_starts_web_and_model() -> None:
    lines = (PROJECT_DIR / "Procfile").read_text().splitlines()
    assert lines == ["web: exec python manage.py serve", "model: exec python manage.py serve_model"]


def test_every_target_that_the_documents_name_exists() -> None:
    makefile = (PROJECT_DIR / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, flags=re.MULTILINE))
    for document in (PROJECT_DIR / "README.md", *PROJECT_DIR.glob("docs/**/*.md")):
        text = document.read_text()
        assert set(re.findall(r"(?:`|^|^[A-Z_]+=.* )make ([a-z0-9-]+)", text, flags=re.MULTILINE)) <= targets, document


def test_no_lock_file_names_a_place() -> None:
    for lock in PROJECT_DIR.glob("requirements*.txt"):
        text = lock.read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"://|--index|--find-links|/root|/home", text), lock


# --- setup/debian-packages


class Machine:
    """A machine as the script sees it: who we are, and an apt-get that only takes notes."""

    def __init__(self, folder: Path, *, root: bool) -> None:
        self.policy = folder / "policy-rc.d"
        self.notes = folder / "notes"
        self._bin = folder / "bin"
        self._bin.mkdir()
        self._program("id", f"echo {0 if root else 1000}")
        self._program("apt-get", f'echo "$@" >>{self.notes}; [ -x {self.policy} ] && echo policy >>{self.notes}; true')

    def needs(self, *packages: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}", "POLICY_RC_D": str(self.policy)}
        script = PROJECT_DIR / "setup" / "debian-packages"
        return subprocess.run([script, *packages], env=environment, capture_output=True, text=True)

    def apt_calls(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []

    def _program(self, name: str, script: str) -> None:
        path = self._bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


def test_nothing_is_done_where_nothing_is_missing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, root=True)
    assert machine.needs("sh", "python3").returncode == 0
    assert machine.apt_calls() == []


def test_root_gets_what_is_missing_without_any_server_started(tmp_path: Path) -> None:
    machine = Machine(tmp_path, root=True)
    assert machine.needs("sh", "no-such-server").returncode == 0
    update, policy_before_update, install, policy_before_install = machine.apt_calls()
    assert update.startswith("update")
    assert install.startswith("install")
    assert install.endswith(" no-such-server")
    assert policy_before_update == policy_before_install == "policy"
    assert not machine.policy.exists()


def test_a_policy_of_the_machine_stays(tmp_path: Path) -> None:
    machine = Machine(tmp_path, root=True)
    machine.policy.write_text("mine")
    assert machine.needs("no-such-server").returncode == 0
    assert machine.policy.read_text() == "mine"


def test_others_are_told_one_line_to_type(tmp_path: Path) -> None:
    machine = Machine(tmp_path, root=False)
    told = machine.needs("sh", "no-such-server", "nor-this")
    assert told.returncode == 1
    assert machine.apt_calls() == []
    line = "sudo apt-get update && sudo apt-get install --yes --no-install-recommends no-such-server nor-this"
    assert told.stderr.splitlines()[-1] == line


# --- what `make run` does after the installation


class Jarvis(Server):
    """`python manage.py prepare`, then `python -m jarvis_site.processes`, as in `make run`."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def prepare(self) -> str:
        command = [sys.executable, "manage.py", "prepare"]
        done = subprocess.run(command, cwd=PROJECT_DIR, env=self.environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def command(self) -> list[str]:
        return [sys.executable, "-m", "jarvis_site.processes"]

    def environment(self) -> dict[str, str]:
        own = {"JARVIS_DATA_DIR": str(self.folder), "PORT": str(self._port), "CHAT_PROVIDER_URL": ""}
        return os.environ | watched(self.folder) | own

    def is_ready(self) -> bool:
        return f"Everything is ready. Open http://127.0.0.1:{self._port}/" in self.output()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def gone(pids: Sequence[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.fixture
def jarvis() -> Iterator[Jarvis]:
    jarvis = Jarvis(free_port())
    jarvis.prepare()
    with jarvis:
        yield jarvis
        assert_nothing_blocked(jarvis.folder)


def test_the_first_start_shows_a_password_and_a_key_and_the_second_nothing() -> None:
    jarvis = Jarvis(free_port())
    first, second = jarvis.prepare(), jarvis.prepare()
    jarvis.__exit__()
    assert re.search(r"user admin, password \S{16}$", first, flags=re.MULTILINE)
    assert re.search(r"API key +jv-\S{40,}$", first, flags=re.MULTILINE)
    assert second == ""


@pytest.mark.services
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_web_and_model_start_together_and_end_together(jarvis: Jarvis, how: signal.Signals) -> None:
    assert jarvis.process is not None
    pids = processes_of(jarvis.process.pid)
    assert len(pids) == 6  # it, its two readers of output, web, model, llama.cpp
    jarvis.process.send_signal(how)
    assert jarvis.process.wait(10) == 0
    assert gone(pids)
    assert "Traceback" not in jarvis.output()


@pytest.mark.services
def test_the_model_may_die_without_ending_the_web_process(jarvis: Jarvis) -> None:
    assert jarvis.process is not None
    before = processes_of(jarvis.process.pid)
    os.kill(before[-1], signal.SIGKILL)
    eventually(lambda: jarvis.output().count("The model is ready") == 2, "the model started again")
    assert before[:-1] == processes_of(jarvis.process.pid)[:-1]


@pytest.mark.services
def test_a_port_in_use_is_said_and_ends_both() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        jarvis = Jarvis(port)
        jarvis.prepare()
        jarvis.is_ready = lambda: f"Cannot listen on 127.0.0.1, port {port}" in jarvis.output()  # type: ignore[method-assign]
        with jarvis:
            assert jarvis.process is not None
            assert jarvis.process.wait(10) == 1
            assert "Traceback" not in jarvis.output()
