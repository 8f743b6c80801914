"""(b) How many streams of 50 tokens/s one process carries, with 99 % of tokens younger than 250 ms and none lost."""

from benchmarks.cases.cpu_per_token import run_server
from benchmarks.chart import Chart
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


async def run(options: Options) -> Report:
    start, most, seconds = (20, 40, 1.0) if options.quick else (100, 3200, 6.0)
    rows: list[Row] = []
    bars: dict[str, float] = {}
    for kind in SERVERS:
        if not options.wants(kind.name):
            continue
        best, tried = await _search(kind, start, most, seconds)
        bars[kind.title] = 0 if best is None else best.streams
        rows.append(_row(kind, best, tried))
    report = Report("b", "Streams that one process carries", rows, chart=Chart("Streams a process", "50/s", bars=bars))
    ours, theirs = report.value("jarvis", "streams"), report.value("fastapi", "streams")
    goals = [Goal("streams of jarvis ÷ fastapi", round(ours / theirs, 2), 2.0, at_least=True)] if theirs else []
    return Report("b", report.title, rows, goals, report.chart)


async def _search(kind: type[Server], start: int, most: int, seconds: float) -> tuple[Load | None, list[Load]]:
    """Doubles until it fails, then halves the way; each trial with a server of its own."""
    best: Load | None = None
    tried: list[Load] = []
    low, high, streams = 0, 0, start
    while True:
        load = await _trial(kind, streams, seconds)
        tried.append(load)
        if load.kept_up:
            best, low = load, streams
        else:
            high = streams
        if streams >= most and load.kept_up:
            return best, tried
        if not high:
            streams = min(most, streams * 2)
        elif high <= max(low, 1) * _PRECISION or high - low <= start // 10:
            return best, tried
        else:
            streams = (low + high) // 2


async def _trial(kind: type[Server], streams: int, seconds: float) -> Load:
    """One failure may be a moment in which the machine did something else: it counts when it happens again."""
    load = await run_server(kind, streams=streams, seconds=seconds)
    return load if load.kept_up else await run_server(kind, streams=streams, seconds=seconds)


def _row(kind: type[Server], best: Load | None, tried: list[Load]) -> Row:
    failed = min((load for load in tried if not load.kept_up), key=lambda load: load.streams, default=None)
    full = failed is not None and failed.client_share > _CLIENT_IS_FULL
    row: Row = {
        "server": kind.name,
        "streams": 0 if best is None else best.streams,
        "failed_at": None if failed is None else failed.streams,
        "limit": "" if failed is None else "client: at least" if full else "server",
    }
    if best is not None:
        row |= {"age_p99_ms": best.age_p99_ms, "steady_us": best.steady_us}
        row |= {"server_share": best.server_share, "client_share": best.client_share}
    return row
