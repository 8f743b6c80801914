"""What one task sleeps by. Setting it costs no wake-up of the task, and no timer of its own."""

import asyncio
from collections.abc import Callable
from math import inf

EARLY_SECONDS = 1e-3  # a timer of uvloop's may come early by half of it: who asks the clock then would wait for ever


class Timers:
    """Belongs to one event loop. One timer of the loop's for all who wait for the same moment.

    The batches of many streams leave on common ticks, and a timer is the dearest part of waiting for one: measured on
    uvloop, 5 µs.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[float, list[Callable[[float], None]]] = {}

    @property
    def waiting(self) -> int:
        """How many timers of the loop's are set."""
        return len(self._due)

    def call_at(self, at: float, callback: Callable[[float], None]) -> None:
        """Calls it then, with that time; it must not raise. Nobody takes it back."""
        callbacks = self._due.get(at)
        if callbacks is None:
            callbacks = self._due[at] = []
            self._loop.call_at(at, self._call, at)
        callbacks.append(callback)

    def _call(self, at: float) -> None:
        for callback in self._due.pop(at):
            callback(at)


class Alarm:
    """Belongs to one event loop. `at`: the time, on its clock, that the sleeper was last given; None for none."""

    __slots__ = ("_loop", "_sleeper", "_timers", "at")

    def __init__(self, timers: Timers) -> None:
        self._loop = asyncio.get_running_loop()
        self._timers = timers
        self._sleeper: asyncio.Future[None] | None = None
        self.at: float | None = None

    @property
    def unset(self) -> bool:
        """Whether somebody sleeps, and neither has been woken nor has a time."""
        return self._sleeper is not None and self.at is None and not self._sleeper.done()

    @property
    def pending(self) -> bool:
        """Whether somebody sleeps, until a time."""
        return self._sleeper is not None and self.at is not None

    async def sleep(self, at: float | None) -> float | None:
        """Until that time, one that is set meanwhile, or a ring. By how many seconds the time is over; None before."""
        self._sleeper, self.at = self._loop.create_future(), None
        if at is not None:
            self.set(at)
        try:
            await self._sleeper
        finally:
            self._sleeper = None
        late_seconds = -inf if self.at is None else self._loop.time() - self.at
        return None if late_seconds < -EARLY_SECONDS else max(0.0, late_seconds)

    def set(self, at: float) -> None:
        """For who sleeps and has no time yet."""
        self.at = at
        self._timers.call_at(at, self._come)

    def take_back(self) -> None:
        """Who sleeps has no time any more."""
        self.at = None

    def ring(self) -> None:
        """Wakes who sleeps; nothing if nobody does."""
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    def _come(self, at: float) -> None:
        if at == self.at:  # else it was set for one who has been woken since
            self.ring()
