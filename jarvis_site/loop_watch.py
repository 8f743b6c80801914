"""How late the event loop is: measured all the time, and when somebody holds it, who.

The loop notes when each of its ticks comes. A thread wakes once none can have come in time, and while the loop is held
it takes the stack that holds it: afterwards nobody could tell any more.
"""

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from math import floor
from pathlib import PurePath
from types import FrameType

import structlog
from django.conf import settings

from events.conf import conf
from events.core.pace import TICK_SHARE, USUAL_TICKS
from events.measuring import GaugeMetricFamily, Histogram, Metric
from events.timers import EARLY_SECONDS

logger = structlog.get_logger(__name__)

# Each look wakes a process that may be idle, for some 150 µs. So it comes in the moments in which the batches of few
# streams leave, if those are as far apart as this.
LEAST_TICK_SECONDS, MOST_TICK_SECONDS = 0.05, 0.1
TOLD_SECONDS = 1.0  # a loop that is held for longer is told of before it goes on: it may never
FRAMES = 20  # of a stack, from where it stands outwards
LINES, LINES_SECONDS = 10, 60.0  # so many warnings at most in so much time


class LoopWatch:
    """Of the loop on which it is started. `stop` it there, too."""

    def __init__(self) -> None:
        self.lag_seconds = Histogram(
            "jarvis_loop_lag_seconds",
            "How late the event loop was, looked at ten to twenty times a second.",
            (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
        )
        self.longest_seconds = 0.0
        self._warning_seconds: float = settings.LOOP_LAG_WARNING_SECONDS
        leave_seconds = conf.flush_interval_seconds * TICK_SHARE * USUAL_TICKS
        self._tick_seconds = min(max(leave_seconds, LEAST_TICK_SECONDS), MOST_TICK_SECONDS)
        self._told: deque[float] = deque(maxlen=LINES)
        self._due = 0.0  # when the loop should tick next; this and the next are written by the loop only
        self._late = (0.0, 0.0)  # when the last tick that was late was due, and came
        self._stopped = threading.Event()

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._schedule(self._loop.time())
        threading.Thread(target=self._watch, name="loop-watch", daemon=True).start()

    def stop(self) -> None:
        self._timer.cancel()
        self._stopped.set()

    def families(self) -> Iterator[Metric]:
        """For a scrape."""
        yield self.lag_seconds.family()
        help = "The latest that the event loop has been since the start of the process."
        yield GaugeMetricFamily("jarvis_loop_lag_longest_seconds", help, self.longest_seconds)

    # --- on the loop ---

    def _schedule(self, now: float) -> None:
        self._due = (floor((now + EARLY_SECONDS) / self._tick_seconds) + 1) * self._tick_seconds
        self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        late_seconds = max(0.0, now - self._due)
        self.lag_seconds.observe(late_seconds)
        if late_seconds > self._warning_seconds:
            self._late = (self._due, now)
        if late_seconds > self.longest_seconds:
            self.longest_seconds = late_seconds
        self._schedule(now)

    # --- on the thread ---

    def _watch(self) -> None:
        while not self._stopped.wait(max(0.01, self._due + self._warning_seconds - time.monotonic())):
            due = self._due
            if time.monotonic() - due > self._warning_seconds:
                stack = _stack(sys._current_frames().get(self._thread_id))
                self._warn(self._seconds_late(due), stack)

    def _seconds_late(self, due: float) -> float:
        """Once the loop goes on; so far, if it does not for long."""
        until = time.monotonic() + TOLD_SECONDS
        while self._due == due and time.monotonic() < until and not self._stopped.wait(0.01):
            pass
        late_due, ticked = self._late
        return (ticked if late_due == due else time.monotonic()) - due

    def _warn(self, seconds: float, stack: str) -> None:
        now = time.monotonic()
        if len(self._told) < LINES or now - self._told[0] > LINES_SECONDS:
            self._told.append(now)
            logger.warning("loop_lag", seconds=round(seconds, 3), stack=stack)


def _stack(frame: FrameType | None) -> str:
    """`file:line function`, where it stands first, with ` < ` before whoever called it."""
    calls: list[str] = []
    while frame is not None and len(calls) < FRAMES:
        file = "/".join(PurePath(frame.f_code.co_filename).parts[-2:])
        calls.append(f"{file}:{frame.f_lineno} {frame.f_code.co_qualname}")
        frame = frame.f_back
    return " < ".join(calls)


_watch: LoopWatch | None = None


def start() -> None:
    """On the loop that serves. Idempotent."""
    global _watch
    if _watch is None:
        _watch = LoopWatch()
        _watch.start()


def stop() -> None:
    """Ends the thread, soon. Idempotent."""
    global _watch
    if _watch is not None:
        _watch.stop()
        _watch = None


def families() -> Iterator[Metric]:
    """Nothing where nobody has started it (plain `daphne` tells of no start)."""
    if _watch is not None:
        yield from _watch.families()
