"""What is compiled is run only as long as it is what the sources say; where it cannot be compiled, Python runs it."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jarvis_site import compiled
from tests.live.server import environment, running_server

PROJECT_DIR = Path(__file__).resolve().parent.parent
LOOK = """
from jarvis_site import compiled
used = compiled.use()
import events.core.cursor, events.core.sse
print(used, events.core.sse.__file__, events.core.cursor.__file__)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what is compiled, and of what compiles it."""
    for name in ("events", "jarvis_site/compiled.py", "setup/compile", "requirements-compile.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (PROJECT_DIR / name).is_dir() else shutil.copy
        copy(PROJECT_DIR / name, tmp_path / name)
    return tmp_path


def run(project: Path, *arguments: str, **variables: str) -> str:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(project), **variables}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=project, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout


def make_compiled(project: Path) -> Path:
    """Something that stands where the compiled sources would."""
    folder = project / run(project, "-c", "from jarvis_site import compiled; print(compiled.folder())").strip()
    made = folder / "events" / "core" / "sse.py"
    made.parent.mkdir(parents=True)
    made.touch()
    (folder / f"{compiled.LIBRARY}.py").touch()
    return made


def test_what_is_compiled_is_imported_and_all_else_as_before(project: Path) -> None:
    made = make_compiled(project)
    assert run(project, "-c", LOOK) == f"True {made} {project}/events/core/cursor.py\n"


@pytest.mark.parametrize(
    "changed",
    ["events/core/sse.py", "events/hub.py", "jarvis_site/compiled.py", "setup/compile", "requirements-compile.txt"],
)
def test_a_source_that_has_changed_is_run_as_it_is_now(project: Path, changed: str) -> None:
    make_compiled(project)
    with open(project / changed, "a") as file:
        file.write("# changed\n")
    assert run(project, "-c", LOOK) == f"False {project}/events/core/sse.py {project}/events/core/cursor.py\n"


def test_what_was_compiled_for_another_machine_is_left_alone(project: Path) -> None:
    made = make_compiled(project)
    (made.parents[2] / f"{compiled.LIBRARY}.py").write_text("raise ImportError('not for this glibc')")
    assert run(project, "-c", LOOK) == f"False {project}/events/core/sse.py {project}/events/core/cursor.py\n"


def test_all_that_is_compiled_is_there(project: Path) -> None:
    assert [name for name in compiled.MODULES if not (project / name).is_file()] == []


def test_nothing_compiled_waits_while_it_handles_an_exception() -> None:
    """mypyc's coroutines would leave it to the whole loop: as the context of what others raise, perhaps for good."""
    waiting = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom)
    found = [
        f"{name}:{inside.lineno}"
        for name in compiled.MODULES
        for node in ast.walk(ast.parse((PROJECT_DIR / name).read_text()))
        for handling in ([node] if isinstance(node, ast.ExceptHandler) else getattr(node, "finalbody", []))
        for inside in ast.walk(handling)
        if isinstance(inside, waiting)
    ]
    assert found == []


def test_where_there_is_no_compiler_one_line_tells_how_to_get_it(project: Path) -> None:
    told = run(project, "setup/compile", PATH=str(project / "empty"))
    assert told.startswith("Jarvis is not compiled, because there is no C compiler")
    assert "`apt-get install gcc libc6-dev python3-dev`" in told
    assert told.count("\n") == 1
    assert not (project / ".compiled").exists()


def test_what_cannot_be_compiled_is_run_by_python_and_told_why(project: Path) -> None:
    with open(project / "events/core/sse.py", "a") as file:
        file.write("broken: int = 'text'\n")
    assert run(project, "setup/compile").splitlines()[-1].startswith("That failed, so Python runs it")
    assert "Incompatible types in assignment" in (project / ".compiled/log").read_text()
    assert run(project, "-c", LOOK) == f"False {project}/events/core/sse.py {project}/events/core/cursor.py\n"


def test_the_core_keeps_its_rules_when_it_is_compiled(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--ds=jarvis_site.settings", "tests/core"]
    env = {**environment(tmp_path, {}), "CI": "true"}
    done = subprocess.run(command, cwd=PROJECT_DIR, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize("runner", ["serve", "daphne", "uvicorn"])
def test_servers_run_what_is_compiled(runner: str) -> None:
    can_compile = run(PROJECT_DIR, "setup/compile", "--can") == "yes\n"
    assert compiled.folder().is_dir() == can_compile, "`make install` compiles what has changed"
    assert _runs_compiled(runner) == can_compile


def test_a_setting_leaves_all_of_it_to_python() -> None:
    assert not _runs_compiled("serve", EVENTS_COMPILED="false")


def _runs_compiled(runner: Any, **settings: str) -> bool:
    with running_server(runner=runner, env=settings) as server:
        return "jarvis__mypyc" in Path(f"/proc/{server.pid}/maps").read_text()
