"""A task that goes on gives way after a burst, and takes as long again as the others took."""

import asyncio

import pytest

from events import burst as burst_module
from events.burst import LONGEST_SECONDS, SHORTEST_SECONDS, Burst


class Clock:
    """Moves when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("away_seconds", "allowed_seconds"),
    [(0.0, SHORTEST_SECONDS), (0.001, SHORTEST_SECONDS), (0.02, 0.02), (5.0, LONGEST_SECONDS)],
)
async def test_a_burst_lasts_as_long_as_the_others_took(
    monkeypatch: pytest.MonkeyPatch, away_seconds: float, allowed_seconds: float
) -> None:
    clock = Clock()
    monkeypatch.setattr(burst_module, "time", clock)

    async def work() -> None:
        clock.now += away_seconds

    burst = Burst()
    assert not burst.is_over(SHORTEST_SECONDS / 2)
    assert burst.is_over(SHORTEST_SECONDS)
    others = asyncio.ensure_future(work())
    await burst.give_way()
    assert others.done()
    assert not burst.is_over(allowed_seconds * 0.99)
    assert burst.is_over(allowed_seconds * 0.02)
