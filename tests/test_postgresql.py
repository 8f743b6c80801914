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
    "events": [
        *("test_event_log", "test_bus", "test_viewer", "test_consumers", "test_retention", "test_hub"),
        "test_statements",
    ],
    "chat": [
        *("test_turns", "test_registry", "test_policies", "test_snapshot", "test_leases", "test_callers"),
        *("test_deletion", "test_upkeep", "test_ending", "test_reading", "test_outside_the_server", "test_rows"),
    ],
}


class UnsafePostgres(PostgresServer):
    """Would lose its data with the machine's power, and empties its tables ten times as fast between two tests."""

    def command(self) -> list[str]:
        return [*super().command(), "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with UnsafePostgres() as started:
        yield started


def test_the_tests_pass_on_postgresql(server: PostgresServer, tmp_path: Path) -> None:
    """Side by side, each part with a database of its own."""
    runs = {part: _run(part, server.url(part), tmp_path / part) for part in TESTS}
    output = {part: run.communicate()[0] for part, run in runs.items()}
    for part, run in runs.items():
        assert run.returncode == 0, output[part][-20_000:]


def _run(part: str, database_url: str, data_dir: Path) -> "subprocess.Popen[str]":
    data_dir.mkdir()
    own = {"DATABASE_URL": database_url, "JARVIS_DATA_DIR": str(data_dir)}
    command = [sys.executable, "-m", "pytest", *(f"tests/{part}/{name}.py" for name in TESTS[part]), "-q"]
    return subprocess.Popen(
        command, cwd=PROJECT_DIR, env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
