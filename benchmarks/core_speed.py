"""How fast the server's core is while something is measured, where others may use what it shares with them.

A virtual core may be one of two threads of a real one. When somebody else uses the other one, all that runs here takes
more CPU time (measured on AMD EPYC: up to 1.85 times, for seconds at a time), and no load average tells.
"""

import os
import subprocess
import sys
import time
from math import inf
from pathlib import Path
from typing import Self

PAUSE_SECONDS = 0.05
_ROUNDS = 20_000  # a quarter of a millisecond: half a percent of the core


class CoreSpeed:
    """A process on that core, while it is entered, that times the CPU of the same small loop again and again."""

    _least = inf  # that it has ever taken here

    def __init__(self, core: int) -> None:
        self._core = core
        self._took: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        command = [sys.executable, str(Path(__file__).absolute()), str(self._core)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        output, _ = self._process.communicate()
        lines = [line.split() for line in output.splitlines()]
        self._took = [(float(line[0]), float(line[1])) for line in lines[:-1] if len(line) == 2]
        CoreSpeed._least = min([CoreSpeed._least, *(took for _, took in self._took)])

    def slowness(self, start: float, end: float) -> float:
        """How much longer the loop took between two moments (`time.monotonic`) than ever: 1 if nobody else was there.

        Raises ValueError if there is nothing to tell.
        """
        took = [took for at, took in self._took if start <= at < end]
        if not took:
            raise ValueError("The core was not looked at in that time.")
        return round(sum(took) / len(took) / CoreSpeed._least, 2)


def _look(core: int) -> None:
    os.sched_setaffinity(0, {core})
    while True:
        begun = time.thread_time()
        for _ in range(_ROUNDS):
            pass
        print(f"{time.monotonic():.3f} {time.thread_time() - begun:.6f}", flush=True)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    _look(int(sys.argv[1]))
