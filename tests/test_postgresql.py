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


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as started:
        yield started


@pytest.mark.parametrize("tests", ["tests/events", "tests/chat"])
def test_the_tests_pass_on_postgresql(server: PostgresServer, tmp_path: Path, tests: str) -> None:
    own = {"DATABASE_URL": server.url(Path(tests).name), "JARVIS_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", tests, "-q", "-m", "not services"]
    run = subprocess.run(
        command, cwd=PROJECT_DIR, env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert run.returncode == 0, run.stdout[-20_000:]
