"""Whether the wall clock can be trusted to say what is old enough to be deleted.

A clock that jumps is usually wrong, and set right again soon: what it calls two weeks old in the meantime may be of
today, and what is deleted does not come back. One that was right to jump (the machine slept) stays where it is.
"""

JUMP_SECONDS = 60.0  # what no clock drifts, or is slewed, between two looks
STEADY_SECONDS = 300.0  # and the rows of deleted sessions still go within their ten minutes


class ClockWatch:
    """All times in seconds: `wall` as of `time.time`, `monotonic` as of `time.monotonic`."""

    def __init__(self, wall: float, monotonic: float) -> None:
        self.jumped_seconds = 0.0  # how far, at the last look; 0 if it did not
        self._offset = wall - monotonic
        self._steady_from = monotonic

    def is_steady(self, wall: float, monotonic: float) -> bool:
        """False from the look that finds a jump until the clock has gone on evenly for `STEADY_SECONDS`."""
        moved = wall - monotonic - self._offset
        self._offset += moved
        self.jumped_seconds = moved if abs(moved) > JUMP_SECONDS else 0.0
        if self.jumped_seconds:
            self._steady_from = monotonic + STEADY_SECONDS
        return monotonic >= self._steady_from
