"""How long batches wait, and in which moments they leave: what all streams of a process keep in common. Pure.

While the event loop is late batches get larger, instead of later and later.
"""

from math import inf

LATE_SECONDS = 0.020  # of a timer: beyond, the loop has more to do than it can
_WINDOW_SECONDS = 0.1  # what counts is the worst of a while
_LATE_WINDOWS = 2  # in a row: one is a pause
_FULL_SHARE = 0.95  # of a core: that is no pause
_SETTLING_SECONDS = 0.2  # after a change: what had piled up is not its fault
_QUIET_SECONDS = 2.0
# It goes back when there is room: twice as many batches cost half as much again, and the rest is for other things. Not
# by less than a third: each change of ticks is work too.
_CALM_SECONDS, _LEAST_STEP = 0.6, 1.5
_ROOM_SHARE = 0.85  # of a core
# Many that have just come, or begin to speak, are known to be too many for the usual interval before the loop is late:
# a first text costs as much as three others, and where many have theirs in one moment, none may have a second one soon
# (measured with 2,600: commits of 700 batches, 0.2 s later). What a batch costs is learnt; other work makes it seem
# dearer, so that counts only while there is much to do, and so far.
_BATCH_SECONDS, _DEAREST, _DEARER, _BUSY_SHARE = 70e-6, 3, 1.05, 0.25
_COMING_SECONDS = 2.0

# A tick is a little less than a third of the usual interval: after three a commit has its time too before it is over.
# Not much less: 14 batches of a stream may take 41 ticks, and must take a second.
USUAL_TICKS = 3
TICK_SHARE = 0.3285
# Those of so few streams leave all in the same moment, once in three ticks: a moment costs much, a stream more in
# it little (measured: 20 streams 108 and 63 us a token, 100 streams 41 and 34). Of more the last would have to wait;
# and where the CPU is too slow for so many in one moment, they are spread for a while.
IN_STEP, _SPREAD_SECONDS = 100, 60.0


class Pace:
    """The interval that all streams of a process keep, between its usual length and `longest_seconds`, and its ticks.

    Batches leave at ticks, each stream's at every `ticks`-th: those of few streams all at the same ones, and those of
    many spread over all. Left to themselves they would gather: who is late once leaves with the next from then on
    (measured: 423 of 800 in one moment).
    """

    __slots__ = (
        "_batch_seconds",
        "_batches_before",
        "_begun_before",
        "_calm_since",
        "_changed_at",
        "_grown_at",
        "_is_spread",
        "_judged_at",
        "_late_windows",
        "_number",
        "_spent_seconds",
        "_spread_at",
        "_stages",
        "_streams_before",
        "_usual_seconds",
        "_worst_seconds",
        "batches",
        "begun",
        "changes",
        "streams",
        "tick_seconds",
        "ticks",
    )

    def __init__(self, interval_seconds: float, longest_seconds: float) -> None:
        self.tick_seconds = interval_seconds * TICK_SHARE
        self.ticks = USUAL_TICKS
        self.streams = 0
        self.batches = 0  # that have left, ever: counted by who sends them
        self.begun = 0  # streams that had their first text, ever: counted by who has it
        self.changes = 0  # of the interval and the ticks of streams, ever
        self._batches_before = self._begun_before = self._streams_before = 0
        self._batch_seconds = _BATCH_SECONDS
        self._number = 0
        self._usual_seconds = interval_seconds
        stretch = max(1.0, longest_seconds / interval_seconds) if interval_seconds else 1.0
        most_ticks = int(USUAL_TICKS * stretch + 1e-6)
        # Doubled, a stream keeps every second of its ticks, so that the batches of all stay spread as they are.
        doubled = [USUAL_TICKS * 2**times for times in range(16)]
        self._stages = sorted({*(ticks for ticks in doubled if ticks <= most_ticks), most_ticks})
        self._late_windows = 0
        self._worst_seconds = 0.0
        self._spent_seconds = 0.0
        self._judged_at = self._calm_since = self._changed_at = self._spread_at = self._grown_at = -inf
        self._is_spread = False

    @property
    def interval_seconds(self) -> float:
        """How long a batch may wait."""
        return self._usual_seconds * self.ticks / USUAL_TICKS

    @property
    def is_stretched(self) -> bool:
        return self.ticks > USUAL_TICKS

    def join(self) -> int:
        """One stream more, until `leave`: its number."""
        self._number += 1
        self._count(1)
        return self._number

    def leave(self) -> None:
        self._count(-1)

    def _count(self, more: int) -> None:
        before = self._in_step
        self.streams += more
        self.changes += before != self._in_step

    def slot(self, number: int) -> int:
        """At which ticks the batches of the stream with this number leave: those that are `slot` modulo `ticks`."""
        return 0 if self._in_step else number

    @property
    def _in_step(self) -> bool:
        return self.streams <= IN_STEP and self.ticks == USUAL_TICKS and not self._is_spread

    def note(self, late_seconds: float) -> None:
        """A timer fired this late. Cheap; for every one of them."""
        if late_seconds > self._worst_seconds:
            self._worst_seconds = late_seconds

    def is_judged(self, now: float) -> bool:
        """Whether it is too early for `judge`."""
        return now - self._judged_at < _WINDOW_SECONDS

    def judge(self, now: float, spent_seconds: float) -> None:
        """Whether the interval should be another. `spent_seconds`: the CPU time, ever, of what the loop shares a core
        with, its own included.
        """
        since_seconds = now - self._judged_at
        share = (spent_seconds - self._spent_seconds) / since_seconds
        late = self._worst_seconds > LATE_SECONDS
        self._learn(share * since_seconds, share)
        if self.streams > self._streams_before or self.begun > self._begun_before:
            self._grown_at = now
        self._streams_before, self._begun_before = self.streams, self.begun
        self._worst_seconds, self._judged_at, self._spent_seconds = 0.0, now, spent_seconds
        if since_seconds > _QUIET_SECONDS:  # what is known is of another time
            self._batch_seconds = _BATCH_SECONDS
            self.ticks, self._late_windows, self._calm_since = self._foreseen(now), int(late), now
            self.changes += 1
            return
        if self._is_spread != (now - self._spread_at < _SPREAD_SECONDS):
            self._is_spread = not self._is_spread
            self.changes += 1
        needed = self._foreseen(now)
        if needed > self.ticks:
            self.ticks = needed
            self._changed(now)
            return
        if now - self._changed_at < _SETTLING_SECONDS:
            return
        self._late_windows = self._late_windows + 1 if late else 0
        shorter = self._shorter(needed)
        if late or shorter == self.ticks or share * (1 + self.ticks / shorter) / 2 > _ROOM_SHARE:
            self._calm_since = now
        if self._late_windows >= _LATE_WINDOWS or (late and share > _FULL_SHARE):
            if self._in_step:
                self._is_spread, self._spread_at = True, now
                self._changed(now)
            elif longer := [ticks for ticks in self._stages if ticks > self.ticks]:
                self.ticks = longer[0]
                self._changed(now)
        elif self.ticks > shorter and now - self._calm_since >= _CALM_SECONDS:
            self.ticks = shorter
            self._changed(now)

    def _shorter(self, needed: int) -> int:
        """What it could go back to: the usual stage, or one that is far enough, if it is as long as `needed`."""
        far_enough = self._stages[:1] + [ticks for ticks in self._stages if ticks * _LEAST_STEP <= self.ticks]
        return max([ticks for ticks in far_enough if needed <= ticks < self.ticks], default=self.ticks)

    def _learn(self, spent_seconds: float, share: float) -> None:
        batches, self._batches_before = self.batches - self._batches_before, self.batches
        if batches:
            most = _DEARER * self._batch_seconds if share > _BUSY_SHARE else self._batch_seconds
            self._batch_seconds = min(spent_seconds / batches, most, _DEAREST * _BATCH_SECONDS)

    def _foreseen(self, now: float) -> int:
        """The least ticks at which the batches of all streams leave room, if each has something for every one.

        Only while they come, or begin to speak: after that being late decides.
        """
        seconds = self.streams * self._batch_seconds / _ROOM_SHARE  # between two batches of a stream
        if not self._usual_seconds or now - self._grown_at >= _COMING_SECONDS:
            return USUAL_TICKS
        enough: list[int] = [ticks for ticks in self._stages if seconds <= self._usual_seconds * ticks / USUAL_TICKS]
        return enough[0] if enough else self._stages[-1]

    def _changed(self, now: float) -> None:
        self.changes += 1
        self._late_windows, self._calm_since, self._changed_at = 0, now, now
