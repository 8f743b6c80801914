"""How long batches wait while the event loop is late: they get larger then, instead of later and later. Pure."""

from math import inf

LATE_SECONDS = 0.020  # of a timer: beyond, the loop has more to do than it can
_WINDOW_SECONDS = 0.1  # one late timer is a pause; what counts is the worst of a while, again and again
_QUIET_SECONDS = 2.0
# In between it stays, and back it goes slowly: else a loop that is nearly full goes from late to punctual and back.
_PUNCTUAL_SECONDS = 0.010
_LONGER, _SHORTER = 1.25, 0.97  # from 75 ms to 200 in half a second, and back in three


class Pace:
    """The interval that all streams of a process keep, between its usual length and `longest_seconds`."""

    __slots__ = ("_judged_at", "_longest_seconds", "_usual_seconds", "_worst_seconds", "interval_seconds")

    def __init__(self, interval_seconds: float, longest_seconds: float) -> None:
        self.interval_seconds = interval_seconds
        self._usual_seconds = interval_seconds
        self._longest_seconds = max(interval_seconds, longest_seconds)
        self._worst_seconds = 0.0
        self._judged_at = -inf

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
