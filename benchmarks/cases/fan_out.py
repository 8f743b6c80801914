"""(d) One stream to many viewers: server CPU per token and viewer."""

import time
from collections.abc import Callable

from benchmarks.chart import Chart
from benchmarks.client import TokenStream
from benchmarks.http import fetch
from benchmarks.jarvis import Jarvis, JarvisUvicorn
from benchmarks.measurement import LEAD_SECONDS, Load, measure, warm_up
from benchmarks.report import Options, Report, Row, goal_of_ratio
from benchmarks.schedule import Schedule
from benchmarks.servers import DjangoEventstream, FastAPI, Server

SERVERS: tuple[type[Server], ...] = (FastAPI, DjangoEventstream, Jarvis, JarvisUvicorn)


async def run(options: Options) -> Report:
    viewers, seconds = (20, 1.5) if options.quick else (200, 10.0)
    rows: list[Row] = []
    bars: dict[str, float] = {}
    for kind in SERVERS:
        if options.wants(kind.name):
            load = await watch(kind, viewers=viewers, seconds=seconds)
            bars[kind.title] = load.whole_us
            rows.append(_row(load))
    goals = [
        *goal_of_ratio(rows, "whole_us", "jarvis", "fastapi", 0.6),
        *goal_of_ratio(rows, "whole_us", "jarvis", "django-eventstream", 0.3),
    ]
    title = f"Server CPU per token and viewer, one stream to {viewers} viewers"
    return Report("d", title, rows, goals, Chart(title, "µs", bars=bars))


async def watch(kind: Callable[[], Server], *, viewers: int, seconds: float) -> Load:
    """One stream of 50 tokens/s, watched by all of them."""
    async with kind() as server:
        await warm_up(server)
        channel = (await server.channels(1))[0]
        at = time.monotonic() + LEAD_SECONDS + viewers / server.starts_per_second
        schedule = Schedule(at, round(seconds * 50), 50.0)
        request = server.watch_request(channel)
        readers = [TokenStream(request, schedule, ends=False) for _ in range(viewers)]
        status, answer = await fetch(server.port, server.start_request(channel, schedule))
        if status >= 300:
            raise RuntimeError(f"{server.name}: {status} {answer}")
        return await measure(server, readers)


def _row(load: Load) -> Row:
    return {
        "server": load.server,
        "viewers": load.streams,
        "kept_up": load.kept_up,
        "whole_us": load.whole_us,
        "steady_us": load.steady_us,
        "complete": f"{load.complete_streams}/{load.streams}",
        "age_p99_ms": load.age_p99_ms,
        "client_share": load.client_share,
        "error": load.error[:60],
    }
