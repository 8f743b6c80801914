"""(b) How many streams of 50 tokens/s one process carries, with 99 % of tokens younger than 250 ms and none lost.

The servers are tried in turn, a step of each one's search after that of the other's: so they have the same minutes.
"""

from dataclasses import dataclass

from benchmarks import machine
from benchmarks.cases.cpu_per_token import run_server
from benchmarks.chart import Chart
from benchmarks.core_speed import CoreSpeed
from benchmarks.jarvis import Jarvis, JarvisUvicorn
from benchmarks.measurement import Load
from benchmarks.report import Goal, Options, Report, Row
from benchmarks.servers import BareLoop, DjangoEventstream, FastAPI, PlainChannels, Server, SSEStarlette

SERVERS: tuple[type[Server], ...] = (
    BareLoop,
    FastAPI,
    SSEStarlette,
    DjangoEventstream,
    PlainChannels,
    Jarvis,
    JarvisUvicorn,
)
_PRECISION = 1.1  # the search ends when the next figure would be within a tenth
_CLIENT_IS_FULL = 0.85  # of its core: from here on a late token may be the client's fault
# A failure counts when it happens again, and not while others slowed the core; but there is an end to trying.
_FAILURES, _MOST_TRIALS, _UNDISTURBED = 2, 5, 1.25


@dataclass(slots=True)
class Search:
    """Doubles until it fails, then halves the way; each trial with a server of its own."""

    kind: type[Server]
    start: int
    most: int
    low: int = 0
    high: int = 0
    over: bool = False
    best: Load | None = None
    failed: Load | None = None  # with the fewest streams
    slowness: float = 0.0  # of the core, while it carried the most
    disturbed: int = 0  # trials that failed and do not count

    @property
    def streams(self) -> int:
        """To be tried next."""
        if self.high:
            return (self.low + self.high) // 2
        return min(self.most, self.low * 2) or self.start

    async def step(self, seconds: float) -> None:
        streams, failures = self.streams, 0
        for _ in range(_MOST_TRIALS):
            load, slowness = await _trial(self.kind, streams, seconds)
            if load.kept_up:
                self.best, self.slowness, self.low = load, slowness, streams
                break
            counts = slowness <= _UNDISTURBED
            failures, self.disturbed = failures + counts, self.disturbed + (not counts)
            if failures == _FAILURES:
                break
        if self.low < streams:
            self.failed, self.high = load, streams
        near = self.high <= max(self.low, 1) * _PRECISION or self.high - self.low <= self.start // 10
        self.over = near if self.high else streams >= self.most


async def run(options: Options) -> Report:
    start, most, seconds = (20, 40, 1.0) if options.quick else (400, 3200, 6.0)
    searches = [Search(kind, start, most) for kind in SERVERS if options.wants(kind.name)]
    while searching := [search for search in searches if not search.over]:
        for search in searching:
            await search.step(seconds)
    rows = [_row(search) for search in searches]
    bars = {search.kind.title: float(search.low) for search in searches}
    report = Report("b", "Streams that one process carries", rows, chart=Chart("Streams a process", "50/s", bars=bars))
    ours, theirs = report.value("jarvis", "streams"), report.value("fastapi", "streams")
    goals = [Goal("streams of jarvis ÷ fastapi", round(ours / theirs, 2), 2.0, at_least=True)] if theirs else []
    return Report("b", report.title, rows, goals, report.chart)


async def _trial(kind: type[Server], streams: int, seconds: float) -> tuple[Load, float]:
    with CoreSpeed(machine.cores()[0]) as speed:
        load = await run_server(kind, streams=streams, seconds=seconds)
    slowness = speed.slowness(load.first_at, load.ends_at)
    print(f"{kind.name}: {streams} streams, {load.young_share:.2%} young, slowness {slowness}", flush=True)
    return load, slowness


def _row(search: Search) -> Row:
    best, failed = search.best, search.failed
    full = failed is not None and failed.client_share > _CLIENT_IS_FULL
    row: Row = {
        "server": search.kind.name,
        "streams": search.low,
        "failed_at": search.high or None,
        "limit": "" if failed is None else "client: at least" if full else "server",
    }
    if best is not None:
        row |= {"age_p99_ms": best.age_p99_ms, "steady_us": best.steady_us}
        row |= {"server_share": best.server_share, "client_share": best.client_share}
    return row | {"slowness": search.slowness, "disturbed": search.disturbed}
