"""What is proved on SQLite holds on PostgreSQL: the same tests, once more, in a process of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server_process import PROJECT_DIR
from tests.services import PostgresServer

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]


# Those in which the database has a say.
TESTS = {
    "events": ["test_event_log", "test_bus", "test_viewer", "test_consumers", "test_retention"],
    "chat": ["test_turns", "test_registry", "test_policies", "test_snapshot", "test_leases", "test_callers"],
}


class UnsafePostgres(PostgresServer):
    """Would lose its data with the machine's power, and empties its tables ten times as fast between two tests."""

    def command(self) -> list[str]:
        return [*super().command(), "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with UnsafePostgres() as started:
        yield started


@pytest.mark.parametrize("tests", TESTS)
def test_the_tests_pass_on_postgresql(server: PostgresServer, tmp_path: Path, tests: str) -> None:
    own = {"DATABASE_URL": server.url(tests), "JARVIS_DATA_DIR": str(tmp_path)}
    files = [f"tests/{tests}/{name}.py" for name in TESTS[tests]]
    command = [sys.executable, "-m", "pytest", *files, "-q"]
    run = subprocess.run(
        command, cwd=PROJECT_DIR, env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert run.returncode == 0, run.stdout[-20_000:]
