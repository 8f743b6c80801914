"""A server that a test can start, end, kill and freeze. Everything here blocks: in an async test, use `to_thread`."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest

PROJECT_DIR = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 10.0


def eventually(condition: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    """The first true value of `condition`; fails the test if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"Not in {seconds:g} s: {what}", pytrace=False)
        time.sleep(0.02)
    return value


def program(name: str, package: str, places: Sequence[Path] = ()) -> str:
    """The path of an installed program; without it the test fails with the line to type."""
    path = shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ.get("PATH", os.defpath)]))
    if path is None:
        pytest.fail(f"{name} is missing. `make test` installs it; so does: apt-get install {package}", pytrace=False)
    return path


def processes_of(pid: int) -> list[int]:
    """The process and all that descend from it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return [pid]
    return [pid, *(each for child in children for each in processes_of(int(child)))]


class Server:
    """A process with a folder. It can be stopped, killed and frozen, and always comes back at the same address."""

    user: str | None = None  # whom it runs as, where root starts it
    end_signal = signal.SIGTERM

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"jarvis-{type(self).__name__.lower()}-"))
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def is_ready(self) -> bool:
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Returns when it is ready."""
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=PROJECT_DIR if self.user is None else self.folder,
                env=self.environment(),
                start_new_session=True,  # Ctrl-C is for pytest, which then ends this
                **self._as_user(),
            )
        eventually(lambda: self._ended() or self.is_ready(), f"{self.command()[0]} ready: {self.output()}")
        if self._ended():
            pytest.fail(f"{self.command()[0]} did not start: {self.output()}", pytrace=False)

    def stop(self) -> None:
        """Ends it as an administrator would."""
        if self.process is not None:
            self.process.send_signal(self.end_signal)
            self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """Ends it, and all that it has started, as a power cut would."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
            self.process.wait(STOP_SECONDS)

    def restart(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freezes it: connections stay open, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    @contextmanager
    def away(self) -> Iterator[None]:
        self.kill()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def output(self) -> str:
        """What it has printed last."""
        return (self.folder / "output").read_text(errors="replace")[-2000:]

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and not self._ended():
            for pid in processes_of(self.process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _as_user(self) -> dict[str, Any]:
        if self.user is None or os.geteuid() != 0:
            return {}
        return {"user": self.user, "group": self.user, "extra_groups": []}
