"""`python -m jarvis_site.processes`: the processes of the Procfile side by side, as `make run` has them.

By honcho, but not by its command line: that gives every process another PORT, reads `.env` by rules of its own, and
kills five seconds after the first process has ended, in the midst of a drain.
"""

import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from honcho import manager
from honcho.environ import parse_procfile
from honcho.printer import Printer

from jarvis_site.patience import KILL_SECONDS

PROJECT_DIR = Path(__file__).resolve().parent.parent
WEB_IS_READY = re.compile(r"Jarvis is ready at (http\S+)")
MODEL_IS_READY = re.compile(r"The model is ready")
ASKED_TO_END = {None, 0, 128 + signal.SIGINT, 128 + signal.SIGTERM}


class ReadyPrinter(Printer):  # type: ignore[misc]
    """Prints what the processes print, and says once that all is ready, with the address to open."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self._address = ""
        self._model_is_ready = False
        self._said = False

    def write(self, message: Any) -> None:
        super().write(message)
        text = message.data.decode(errors="replace") if isinstance(message.data, bytes) else message.data
        if found := WEB_IS_READY.search(text):
            self._address = found[1].replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        self._model_is_ready |= bool(MODEL_IS_READY.search(text))
        if self._address and self._model_is_ready and not self._said:
            self._said = True
            print(f"\n  Everything is ready. Open {self._address} (Ctrl-C ends it)\n", flush=True)  # noqa: T201


def main() -> int:
    """Returns when all processes have ended: 0 if a signal asked for it, else the code of the one that failed."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PORT": str(settings.PORT),
        "PYTHONUNBUFFERED": "1",
    }
    manager.KILL_WAIT = settings.SHUTDOWN_GRACE_SECONDS + KILL_SECONDS
    processes = manager.Manager(ReadyPrinter())
    for name, command in parse_procfile((PROJECT_DIR / "Procfile").read_text()).processes.items():
        processes.add_process(name, command, env=environment, cwd=str(PROJECT_DIR))
    processes.loop()
    return 0 if processes.returncode in ASKED_TO_END else int(processes.returncode)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jarvis_site.settings")
    sys.exit(main())
