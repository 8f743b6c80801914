"""One process of a cluster: started, watched, started again, ended. Everything here blocks."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT_DIR = Path(__file__).resolve().parent.parent.parent
_SHOWN_CHARACTERS = 2000


@dataclass
class Process:
    """`user`: whom it runs as, where root starts it. What it prints goes to `output`, a file."""

    name: str
    command: list[str]
    output: Path
    is_ready: Callable[["Process"], bool]
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    user: str | None = None
    end_signal: signal.Signals = signal.SIGTERM
    _running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._running.pid if self._running else 0

    def start(self) -> None:
        with self.output.open("ab") as output:
            self._running = subprocess.Popen(  # noqa: S603  (our own command)
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=PROJECT_DIR if self.user is None else self.output.parent,
                env=dict(self.environment),
                start_new_session=True,  # Ctrl-C is for the cluster, which ends them in order
                **as_user(self.user),
            )

    def ended_with(self) -> int | None:
        """The exit code, negative if a signal ended it; None: it runs, or was never started."""
        return self._running.poll() if self._running else None

    def has_said(self, words: str) -> bool:
        return words in self.output.read_text(errors="replace")

    def last_words(self) -> str:
        return self.output.read_text(errors="replace")[-_SHOWN_CHARACTERS:].strip()

    def ask_to_end(self) -> None:
        if self._running and self.ended_with() is None:
            self._running.send_signal(self.end_signal)

    def wait(self) -> None:
        if self._running:
            self._running.wait()

    def kill(self) -> None:
        """With all of its session; nothing happens if it has ended."""
        if self._running and self.ended_with() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait()


def as_user(name: str | None) -> dict[str, Any]:
    """What `subprocess` is told, so that the program runs as somebody else than root."""
    return {} if name is None or os.geteuid() != 0 else {"user": name, "group": name, "extra_groups": []}
