"""How long batches wait, and in which moments they leave: what all streams of a process keep in common. Pure.

While the event loop is late batches get larger, instead of later and later.
"""

from math import inf

LATE_SECONDS = 0.020  # of a timer: beyond, the loop has more to do than it can
_WINDOW_SECONDS = 0.1  # one late timer is a pause; what counts is the worst of a while, again and again
_QUIET_SECONDS = 2.0
# In between it stays, and back it goes slowly: else a loop that is nearly full goes from late to punctual and back.
_PUNCTUAL_SECONDS = 0.010
_LONGER, _SHORTER = 1.25, 0.97  # from 75 ms to 200 in half a second, and back in three

# Of the usual interval. A little less than a third: after three of them a commit has its time too before the interval
# is over. Not much less: no second may see more than 14 batches of a stream, and 14 of them may take 41 ticks.
TICK_SHARE = 0.327
# The batches of so few streams leave all in the same moment, once in three ticks: a moment costs much, a stream more in
# it little (measured: 20 streams 108 and 63 us a token, 100 streams 41 and 34). Of more the last would have to wait.
IN_STEP = 100


class Pace:
    """The interval that all streams of a process keep, between its usual length and `longest_seconds`."""

    __slots__ = ("_judged_at", "_longest_seconds", "_usual_seconds", "_worst_seconds", "interval_seconds", "streams", "tick_seconds")

    def __init__(self, interval_seconds: float, longest_seconds: float) -> None:
        self.interval_seconds = interval_seconds
        self.tick_seconds = interval_seconds * TICK_SHARE
        self.streams = 0  # that keep it now; each counts itself
        self._usual_seconds = interval_seconds
        self._longest_seconds = max(interval_seconds, longest_seconds)
        self._worst_seconds = 0.0
        self._judged_at = -inf

    @property
    def step(self) -> int:
        """Batches leave at every tick that is a multiple of it; see `Batcher`."""
        return 3 if self.streams <= IN_STEP and self.interval_seconds == self._usual_seconds else 1

    def note(self, late_seconds: float, now: float) -> None:
        """A timer fired this late. Cheap; for every one of them."""
        if late_seconds > self._worst_seconds:
            self._worst_seconds = late_seconds
        since_seconds = now - self._judged_at
        if since_seconds < _WINDOW_SECONDS:
            return
        if since_seconds > _QUIET_SECONDS:  # what is known is of another time
            self.interval_seconds, self._worst_seconds = self._usual_seconds, late_seconds
        if self._worst_seconds > LATE_SECONDS:
            self.interval_seconds = min(self._longest_seconds, self.interval_seconds * _LONGER)
        elif self._worst_seconds < _PUNCTUAL_SECONDS:
            self.interval_seconds = max(self._usual_seconds, self.interval_seconds * _SHORTER)
        self._worst_seconds, self._judged_at = 0.0, now
