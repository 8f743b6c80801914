"""`python -m benchmarks.loop_watch OUTPUT SCRIPT ARGUMENT…`: runs a server script and records how late its loop is.

Every 10 ms a timer is due; how late it runs is the lag. OUTPUT gets `time lag` lines (seconds, monotonic) at the end.
"""

import asyncio
import atexit
import importlib
import runpy
import sys
import time
from array import array
from pathlib import Path
from typing import Any

TICK_SECONDS = 0.01
_times, _lags = array("d"), array("d")


def _watch(loop: asyncio.AbstractEventLoop) -> None:
    def tick(due: float) -> None:
        now = time.monotonic()
        _times.append(now)
        _lags.append(now - due)
        again = max(now, due) + TICK_SECONDS
        loop.call_later(again - time.monotonic(), tick, again)

    tick(time.monotonic())


def _watch_daphne() -> None:
    kind: Any = importlib.import_module("uvloop").Loop
    original = kind.run_forever

    def run_forever(self: Any) -> Any:
        self.call_soon(_watch, self)
        return original(self)

    kind.run_forever = run_forever


def _watch_uvicorn(path: Path) -> None:
    """It ends by the signal that ended it, without what is registered at exit."""
    kind: Any = importlib.import_module("uvicorn").Server
    original = kind._serve  # `serve` raises the signal again before it returns

    async def _serve(self: Any, *arguments: Any, **options: Any) -> Any:
        _watch(asyncio.get_running_loop())
        try:
            return await original(self, *arguments, **options)
        finally:
            _write(path)

    kind._serve = _serve


def _write(path: Path) -> None:
    path.write_text("".join(f"{at:.6f} {lag:.6f}\n" for at, lag in zip(_times, _lags, strict=True)))


if __name__ == "__main__":
    output, script, *arguments = sys.argv[1:]
    if "uvicorn" in script:
        _watch_uvicorn(Path(output))
    else:
        atexit.register(_write, Path(output))
        _watch_daphne()
    sys.argv = [script, *arguments]
    sys.path[0:1] = [str(Path(script).parent.absolute()), str(Path.cwd())]
    runpy.run_path(script, run_name="__main__")
