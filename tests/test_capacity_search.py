"""How case (b) of the benchmarks finds the most that a server carries, on a machine that others slow down."""

import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import machine
from benchmarks.cases import capacity
from benchmarks.cases.capacity import Search
from benchmarks.core_speed import CoreSpeed
from benchmarks.servers import FastAPI


async def test_the_most_that_is_carried_is_found_within_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = found_by(monkeypatch, lambda streams: (streams <= 1_350, 1.0))
    search = await searched()
    assert search.low <= 1_350 < search.high <= 1.1 * search.low
    assert tried == [400, 800, 1600, 1600, 1200, 1400, 1400, 1300]  # a failure counts when it happens again


async def test_who_carries_all_is_asked_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    found_by(monkeypatch, lambda streams: (True, 1.0))
    search = await searched()
    assert (search.low, search.high, search.failed) == (3200, 0, None)


async def test_a_failure_while_others_slow_the_core_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = iter([True, True, True])
    found_by(monkeypatch, lambda streams: (False, 1.8) if streams == 800 and next(slow, False) else (True, 1.0))
    search = await searched()
    assert (search.low, search.disturbed) == (3200, 3)


async def test_trying_again_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = found_by(monkeypatch, lambda streams: (False, 1.8))
    search = Search(FastAPI, 400, 3200)
    await search.step(1.0)
    assert tried == [400] * capacity._MOST_TRIALS
    assert (search.low, search.high) == (0, 400)


def test_the_core_is_looked_at_while_something_is_measured() -> None:
    start = time.monotonic()
    with CoreSpeed(machine.cores()[0]) as speed:
        subprocess.run([sys.executable, "-c", "for _ in range(20_000_000): pass"], check=True)
    assert speed.slowness(start, time.monotonic()) >= 1.0
    with pytest.raises(ValueError, match="not looked at"):
        speed.slowness(start - 2, start - 1)


def found_by(monkeypatch: pytest.MonkeyPatch, outcome: Callable[[int], tuple[bool, float]]) -> list[int]:
    """The trials that were made; `outcome` says of each whether it kept up, and how slow the core was."""
    tried: list[int] = []

    async def trial(kind: Any, streams: int, seconds: float) -> tuple[Any, float]:
        tried.append(streams)
        kept_up, slowness = outcome(streams)
        return SimpleNamespace(kept_up=kept_up), slowness

    monkeypatch.setattr(capacity, "_trial", trial)
    return tried


async def searched() -> Search:
    search = Search(FastAPI, 400, 3200)
    while not search.over:
        await search.step(1.0)
    return search
