"""When Python looks for cycles of objects that nobody uses: while nobody is there, and seldom else.

A full collection goes over all that lives while the loop stands still: 0.1 ms for each stream, and left alone there is
one every few seconds (measured: 97 ms with 800 streams, which then were all late).
"""

import asyncio
import gc
from collections.abc import Callable

_LOOK_SECONDS = 1.0
_CALM_SECONDS = 20.0  # between two of them while nobody is there
_LONGEST_SECONDS = 120.0  # else
# What is young is looked through once, when there are so many objects more (some 5 ms): Python's 700 come in the middle
# of a tick, whose batches live until they are stored (measured with 1,000 streams: 5 % of what a token costs). What was
# left of it is not looked through again before a full collection: with 2,700 streams that took 100 ms at a time.
_YOUNG = 20_000


class Garbage:
    """Of the process whose loop it is started on. `population` says how many streams and viewers it has."""

    def __init__(self, population: Callable[[], int]) -> None:
        self._population = population
        self._loop = asyncio.get_running_loop()
        self._usual = gc.get_threshold()
        # What is loaded now stays: 150,000 objects, over which no collection needs to go.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG, 1_000_000, 1_000_000)
        self._collected_at = self._loop.time()
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """From now on Python does as it pleases again."""
        self._timer.cancel()
        gc.set_threshold(*self._usual)

    def _look(self) -> None:
        if self._loop.time() - self._collected_at >= (_LONGEST_SECONDS if self._population() else _CALM_SECONDS):
            gc.collect()
            self._collected_at = self._loop.time()
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)
