"""(a) What a delivered token costs the server, at 100 streams of 50 tokens/s."""

from collections import defaultdict
from statistics import median

from benchmarks.chart import Chart
from benchmarks.jarvis import Jarvis, JarvisUvicorn
from benchmarks.measurement import Load, run_streams, warm_up
from benchmarks.report import Goal, Options, Report, Row, goal_of_ratio
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


async def run_server(kind: type[Server], *, streams: int, seconds: float, rate: float = 50.0) -> Load:
    async with kind() as server:
        await warm_up(server)
        return await run_streams(server, streams=streams, seconds=seconds, rate=rate)


async def run_rounds(
    options: Options, kinds: tuple[type[Server], ...], *, streams: int, seconds: float, rounds: int
) -> dict[type[Server], list[Load]]:
    """All servers in turn, again and again, so that what else the machine does meets all of them."""
    loads: dict[type[Server], list[Load]] = defaultdict(list)
    for _ in range(rounds):
        for kind in kinds:
            if options.wants(kind.name):
                loads[kind].append(await run_server(kind, streams=streams, seconds=seconds))
    return loads


async def run(options: Options) -> Report:
    streams, seconds, rounds = (20, 1.5, 1) if options.quick else (100, 10.0, 3)
    found = await run_rounds(options, SERVERS, streams=streams, seconds=seconds, rounds=rounds)
    rows = [_row(kind, loads) for kind, loads in found.items()]
    goals = [
        *goal_of_ratio(rows, "whole_us", "jarvis", "fastapi", 1.0),
        *goal_of_ratio(rows, "whole_us", "jarvis-uvicorn", "fastapi", 0.75),
        *(
            Goal(goal.text, goal.value, goal.limit, at_least=True)
            for goal in goal_of_ratio(rows, "whole_us", "channels", "jarvis", 10.0)
        ),
    ]
    bars = {kind.title: median(load.whole_us for load in loads) for kind, loads in found.items()}
    title = f"Server CPU per delivered token, {streams} streams of 50 tokens/s"
    return Report("a", title, rows, goals, Chart(title, "µs", bars=bars))


def _row(kind: type[Server], loads: list[Load]) -> Row:
    middle = sorted(loads, key=lambda load: load.whole_us)[len(loads) // 2]
    return {
        "server": kind.name,
        "whole_us": median(load.whole_us for load in loads),
        "steady_us": median(load.steady_us for load in loads),
        "complete": f"{middle.complete_streams}/{middle.streams}",
        "age_p50_ms": middle.age_p50_ms,
        "age_p99_ms": middle.age_p99_ms,
        "client_share": middle.client_share,
        "reads_per_token": middle.reads_per_token,
        "bytes_per_token": middle.bytes_per_token,
        "error": middle.error[:60],
    }
