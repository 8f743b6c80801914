"""How long one task goes on before the others of its event loop get their turn."""

import asyncio
import time

SHORTEST_SECONDS, LONGEST_SECONDS = 0.003, 0.05


class Burst:
    """As long as the others took the last time: half of a loop that has too much to do, not one burst a round of it.

    Measured with 1,000 streams, a quarter more than a core carries: 100 events a round were 2,000 tokens/s, though
    50,000 came; half of the time is 40,000. The loop's own clock stands still during a round, so this has another.
    """

    __slots__ = ("allowed_seconds", "spent_seconds")

    def __init__(self) -> None:
        self.spent_seconds, self.allowed_seconds = 0.0, SHORTEST_SECONDS

    def is_over(self, seconds: float) -> bool:
        """After so many more; then `give_way`."""
        self.spent_seconds += seconds
        return self.spent_seconds > self.allowed_seconds

    async def give_way(self) -> None:
        """One turn for everybody else."""
        left = time.monotonic()
        await asyncio.sleep(0)
        away_seconds = time.monotonic() - left
        self.spent_seconds, self.allowed_seconds = 0.0, min(max(away_seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
