"""(a) What a delivered token costs the server, at 100 streams of 50 tokens/s.

Also at 10, which plain Channels can carry: at 100 it leaves most of the work undone, and its cost is no fair figure.
"""

from collections import defaultdict
from collections.abc import Callable
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
_WITH_CHANNELS: tuple[type[Server], ...] = (FastAPI, PlainChannels, Jarvis)


async def run_server(kind: Callable[[], Server], *, streams: int, seconds: float, rate: float = 50.0) -> Load:
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
    streams, few, seconds, rounds = (20, 5, 1.5, 1) if options.quick else (100, 10, 10.0, 3)
    found = await run_rounds(options, SERVERS, streams=streams, seconds=seconds, rounds=rounds)
    found_few = await run_rounds(options, _WITH_CHANNELS, streams=few, seconds=seconds, rounds=rounds)
    rows, rows_few = ([_row(kind, loads) for kind, loads in each.items()] for each in (found, found_few))
    goals = [
        *goal_of_ratio(rows, "whole_us", "jarvis", "fastapi", 1.0),
        *goal_of_ratio(rows, "whole_us", "jarvis-uvicorn", "fastapi", 0.75),
        *goal_of_ratio(rows, "whole_us", "channels", "jarvis", 10.0, at_least=True),
    ]
    notes = [f"At {few} streams, {goal.text}: {goal.value:g}" for goal in _of_channels(rows_few)]
    bars = {kind.title: median(load.whole_us for load in loads) for kind, loads in found.items()}
    title = f"Server CPU per delivered token, {streams} streams of 50 tokens/s"
    return Report("a", title, [*rows, *rows_few], goals, Chart(title, "µs", bars=bars), notes)


def _of_channels(rows: list[Row]) -> list[Goal]:
    return goal_of_ratio(rows, "whole_us", "channels", "jarvis", 0.0)


def _row(kind: type[Server], loads: list[Load]) -> Row:
    middle = sorted(loads, key=lambda load: load.whole_us)[len(loads) // 2]
    return {
        "server": kind.name,
        "streams": middle.streams,
        "kept_up": all(load.kept_up for load in loads),
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
