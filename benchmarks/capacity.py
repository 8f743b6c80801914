"""How far one process goes, and what a fleet takes: `python -m benchmarks.capacity`.

Three loads are measured on this machine, with a model over HTTP, Redis and PostgreSQL, and give four costs: of a token
that is read, of a batch that is stored and sent, of one more viewer of a batch, and of a stream's start and end. A
simulation of one process with these costs, which uses the product's own rules for batches and their pace, says how many
streams it carries; case b finds such a figure by trial. From there on it is arithmetic. `--costs` simulates with costs
that are known.
"""

import argparse
import heapq
import importlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.calibration import Costs, measured
from benchmarks.report import table
from benchmarks.servers import BENCHMARKS
from events.core.batching import Batcher
from events.core.pace import Pace

RATE = 50.0
INTERVAL_SECONDS, LONGEST_SECONDS = 0.075, 0.2
YOUNG_SECONDS, YOUNG_SHARE = 0.25, 0.99
STREAM_SECONDS = 10.0  # of an answer, 500 tokens
ROWS_PER_SECOND = 28_000  # that one PostgreSQL took (`fenced_rows.py`); for `--costs`, which measures nothing
FREE_SHARE = 0.5  # of a process's capacity that a plan leaves for restarts, bursts and uneven sessions
FLEETS = ((100_000, 10), (100_000, 1), (1_000_000, 100), (1_000_000, 10), (1_000_000, 1))  # viewers, viewers a stream


@dataclass(frozen=True, slots=True)
class Simulated:
    streams: int
    share: float  # of the core
    young_share: float
    interval_seconds: float  # at the end
    batches_per_second: float

    @property
    def keeps_up(self) -> bool:
        return self.young_share >= YOUNG_SHARE


def simulate(costs: Costs, streams: int, seconds: float = 5.0, seed: int = 1) -> Simulated:
    """One process, one viewer a stream: a queue of tokens and timers, served one after the other.

    `costs.batch` holds the commit's share and that of its first viewer.
    """
    chance = random.Random(seed)
    pace = Pace(INTERVAL_SECONDS, LONGEST_SECONDS)
    batchers = [Batcher(INTERVAL_SECONDS, 1024, pace.tick_seconds) for _ in range(streams)]
    numbers = [pace.join() for _ in range(streams)]
    waiting: list[list[float]] = [[] for _ in range(streams)]
    queue = [(chance.random() / 3, 0, stream) for stream in range(streams)]  # (when, 0 a token or 1 a timer, whose)
    heapq.heapify(queue)
    free_at = busy = 0.0
    young = tokens = batches = 0
    while queue and queue[0][0] < seconds:
        due, kind, stream = heapq.heappop(queue)
        now = max(due, free_at)
        batcher = batchers[stream]
        if kind == 0:
            cost = costs.token
            had = batcher.deadline()
            batcher.add("token", now)
            waiting[stream].append(due)
            heapq.heappush(queue, (due + 1 / RATE, 0, stream))
            if had is None and (deadline := batcher.deadline()) is not None:
                heapq.heappush(queue, (deadline, 1, stream))
        else:
            cost = costs.batch
            pace.note(now - due)
            if not pace.is_judged(now):
                pace.judge(now, busy)
            batcher.keep(pace.interval_seconds, pace.ticks, pace.slot(numbers[stream]))
            batcher.take(max(now, due))
            batcher.done(now)
            sent_at = now + cost
            young += sum(sent_at - token_due < YOUNG_SECONDS for token_due in waiting[stream])
            tokens += len(waiting[stream])
            batches += 1
            waiting[stream].clear()
        free_at = now + cost
        busy += cost
    late = sum(seconds - token_due > YOUNG_SECONDS for each in waiting for token_due in each)
    share = young / max(1, tokens + late)
    return Simulated(streams, busy / seconds, share, pace.interval_seconds, batches / seconds)


def capacity(costs: Costs) -> Simulated:
    """The most streams that it keeps up with, within a fiftieth."""
    low, high = 1, 2
    while simulate(costs, high).keeps_up:
        low, high = high, high * 2
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        if simulate(costs, middle).keeps_up:
            low = middle
        else:
            high = middle
    return simulate(costs, low)


def fleet(costs: Costs, rows_per_second: int, viewers: int, viewers_per_stream: int) -> dict[str, Any]:
    """What so many viewers take, with sessions spread over all processes, each half full."""
    streams = viewers / viewers_per_stream
    batches = streams / INTERVAL_SECONDS
    per_stream = RATE * costs.token + (costs.batch + (viewers_per_stream - 1) * costs.viewer) / INTERVAL_SECONDS
    per_stream += costs.stream / STREAM_SECONDS
    processes = max(1.0, streams * per_stream / FREE_SHARE)
    return {
        "viewers": viewers,
        "viewers_a_stream": viewers_per_stream,
        "streams": round(streams),
        "cores_for_web": round(processes),
        "batches_per_s": round(batches),
        "postgresqls": -int(-batches // (rows_per_second * FREE_SHARE)),
        "redis_publishes_per_s": round(batches),
        "gbit_per_s": round(viewers * (1 / INTERVAL_SECONDS * 190 + RATE * 5) * 8 / 1e9, 2),
    }


def _found(path: Path, column: str) -> float | None:
    """Jarvis' figure of a case that was measured before; None if it was not."""
    rows = json.loads(path.read_text())["rows"] if path.is_file() else []
    return next((float(row[column]) for row in rows if row["server"] == "jarvis"), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=BENCHMARKS / "results", help="where capacity.json is written")
    parser.add_argument(
        "--costs", type=float, nargs=4, metavar=("TOKEN", "BATCH", "VIEWER", "STREAM"), help="µs, instead of measuring"
    )
    options = parser.parse_args()
    shared: dict[str, Any] = {}
    if options.costs:
        costs = Costs(*(each / 1e6 for each in options.costs))
    else:
        machine.pin_client()
        uvloop: Any = importlib.import_module("uvloop")
        costs, shared = uvloop.run(measured())
    rows: Sequence[dict[str, Any]] = [
        {name: round(value * 1e6, 1) for name, value in asdict(costs).items()},
    ]
    print("Costs, µs of one core\n\n" + table(rows))
    most = capacity(costs)
    loads = [simulate(costs, round(most.streams * part)) for part in (0.25, 0.5, 0.75, 1.0, 1.2)]
    print("One process, simulated\n\n" + table([asdict(load) for load in loads]))
    for letter, column in (("b", "streams"), ("g", "viewer_kib")):  # of Jarvis on SQLite, its own token source
        if (value := _found(options.results / f"{letter}.json", column)) is not None:
            print(f"Case {letter} measured {column}: {value:g}")
    print("Redis and PostgreSQL, for 1,000 streams\n\n" + table([shared] if shared else []))
    rows_per_second = shared.get("postgres_rows_per_s", ROWS_PER_SECOND)
    fleets = [fleet(costs, rows_per_second, *each) for each in FLEETS]
    print("Fleets\n\n" + table(fleets))
    options.results.mkdir(parents=True, exist_ok=True)
    found = {"costs": asdict(costs), "process": [asdict(load) for load in loads], "shared": shared, "fleets": fleets}
    (options.results / "capacity.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
