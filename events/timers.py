"""One timer of the loop's for all who wait for the same moment, and how late those come."""

import asyncio
import os
from collections.abc import Callable
from time import process_time, thread_time

import structlog

from events.core.pace import Pace

logger = structlog.get_logger(__name__)

EARLY_SECONDS = 1e-3  # a timer of uvloop's may come early by half of it: who asks the clock then would wait for ever

# Where there is one core, the threads beside the loop take it from the loop as well.
_spent_seconds = process_time if len(os.sched_getaffinity(0)) == 1 else thread_time


class Timers:
    """Belongs to one event loop. `pace` goes by them.

    The batches of many streams leave on common ticks, and a timer is the dearest part of waiting for one: measured on
    uvloop, 5 µs.
    """

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._loop = asyncio.get_running_loop()
        self._due: dict[float, list[Callable[[float], None]]] = {}

    @property
    def waiting(self) -> int:
        """How many timers of the loop's are set."""
        return len(self._due)

    def call_at(self, at: float, callback: Callable[[float], None]) -> None:
        """Calls it then, with that time. Nobody takes it back."""
        callbacks = self._due.get(at)
        if callbacks is None:
            callbacks = self._due[at] = []
            self._loop.call_at(at, self._call, at)
        callbacks.append(callback)

    def one_begins(self, now: float) -> None:
        """A stream has its first text."""
        self.pace.begun += 1
        self._judge(now)

    def _judge(self, now: float) -> None:
        if not self.pace.is_judged(now):
            self.pace.judge(now, _spent_seconds())

    def _call(self, at: float) -> None:
        now = self._loop.time()
        self.pace.note(now - at)
        self._judge(now)
        for callback in self._due.pop(at):
            try:
                callback(at)
            except Exception:  # it is one's own misfortune, not that of the others
                logger.exception("timer_failed")
