"""What one task sleeps by. Setting it costs a timer, not a wake-up of the task."""

import asyncio


class Alarm:
    """Belongs to one event loop. `at`: the time, on its clock, that the sleeper was last given; None for none."""

    __slots__ = ("_loop", "_sleeper", "_timer", "at")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sleeper: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.at: float | None = None

    @property
    def unset(self) -> bool:
        """Whether somebody sleeps, and no time is set."""
        return self._sleeper is not None and self.at is None

    async def sleep(self, at: float | None) -> float:
        """Until that time, one that is set meanwhile, or a ring. By how many seconds the time is over; 0 before."""
        self._sleeper, self.at = self._loop.create_future(), None
        if at is not None:
            self.set(at)
        try:
            await self._sleeper
        finally:
            self._sleeper = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        return 0.0 if self.at is None else max(0.0, self._loop.time() - self.at)

    def set(self, at: float) -> None:
        """For who sleeps and has no time yet."""
        self.at = at
        self._timer = self._loop.call_at(at, self.ring)

    def ring(self) -> None:
        """Wakes who sleeps; nothing if nobody does."""
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)
