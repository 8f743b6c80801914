"""A publisher's loop under a clock of our own: feeds a batcher, obeys its deadlines, ends its flushes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, repeat
from math import inf

from events.core.batching import Batch, Batcher


@dataclass(frozen=True, slots=True)
class Flush:
    started: float
    ended: float
    batch: Batch
    immediate: bool
    delays: tuple[float, ...]  # of each token in it: from its arrival to the start of the flush


@dataclass(slots=True)
class Run:
    flushes: list[Flush] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(flush.batch.text for flush in self.flushes)

    @property
    def delays(self) -> list[float]:
        return [delay for flush in self.flushes for delay in flush.delays]


def run(
    batcher: Batcher,
    arrivals: Iterable[tuple[float, str]],
    flush_seconds: Iterable[float] = (),
    timer_late_seconds: float = 0.0,
) -> Run:
    """All tokens, until the last has left. Flush n takes `flush_seconds[n]`, 0 when there are no more."""
    result = Run()
    lasting: Iterator[float] = chain(flush_seconds, repeat(0.0))
    tokens = list(arrivals)
    next_token, waiting, now, flush_ends = 0, list[float](), 0.0, inf
    while next_token < len(tokens) or waiting or flush_ends < inf:
        arrives = tokens[next_token][0] if next_token < len(tokens) else inf
        deadline = batcher.deadline()
        wakes = inf if deadline is None else now if deadline <= now else deadline + timer_late_seconds
        now = max(now, min(arrives, wakes, flush_ends))
        if flush_ends <= now:
            batcher.done(now)
            flush_ends = inf
        elif wakes <= now:
            immediate, batch = batcher.immediate, batcher.take(now)
            assert batch is not None
            flush_ends = now + next(lasting)
            delays = tuple(now - arrived for arrived in waiting)
            result.flushes.append(Flush(now, flush_ends, batch, immediate, delays))
            waiting.clear()
        else:
            batcher.add(tokens[next_token][1], now)
            waiting.append(arrives)
            next_token += 1
    return result
