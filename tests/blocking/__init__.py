"""No blocking call on the event loop of a server process goes unseen, as `tests/conftest.py` has it for async tests.

Python itself loads `sitecustomize.py` where this folder is in PYTHONPATH, whatever runs the server.
"""

import os
import signal
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
_CALLS, _TASKS = "blocking_calls", "asyncio_tasks"


def watched(data_dir: Path) -> dict[str, str]:
    """Environment variables with which a process, and all that it starts, notes in this folder what blocks.

    Who has to let something block sets PYTHONPATH to "".
    """
    return {"PYTHONPATH": str(_FOLDER), "BLOCKING_CALLS": str(data_dir / _CALLS), "TASKS": str(data_dir / _TASKS)}


def assert_nothing_blocked(data_dir: Path) -> None:
    calls = data_dir / _CALLS
    assert not calls.exists(), calls.read_text()[:5_000]


def ask_for_tasks(pid: int, data_dir: Path) -> Path:
    """The file in which the process tells, in a moment, how many asyncio tasks it has."""
    path = data_dir / _TASKS
    path.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    return path
