"""When Python looks for cycles of objects that nobody uses: seldom, and where it can be, while nobody is there.

A full collection goes over all that lives while the loop stands still: 0.1 ms for each stream, and left alone there is
one every few seconds (measured: 97 ms with 800 streams, which then were all late). What lives shortly is collected as
ever; what the full ones find is little: some twenty objects of a stream.
"""

import asyncio
import gc
from collections.abc import Callable

_LOOK_SECONDS = 20.0
_LONGEST_SECONDS = 120.0  # without a full collection: at fifty new streams a second, 15 MB that nobody uses
_NEVER = 1_000_000


class Garbage:
    """Of the process whose loop it is started on. `busy` says whether anybody would notice."""

    def __init__(self, busy: Callable[[], object]) -> None:
        self._busy = busy
        self._loop = asyncio.get_running_loop()
        self._usual = gc.get_threshold()
        # What is loaded now stays: 150,000 objects, over which no collection needs to go.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*self._usual[:2], _NEVER)
        self._collected_at = self._loop.time()
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """From now on Python does as it pleases again."""
        self._timer.cancel()
        gc.set_threshold(*self._usual)

    def _look(self) -> None:
        if not self._busy() or self._loop.time() - self._collected_at >= _LONGEST_SECONDS:
            gc.collect()
            self._collected_at = self._loop.time()
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)
