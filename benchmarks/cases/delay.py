"""(e) How old tokens are when they arrive, at each rate of a model; and how late the first one."""

import time

from benchmarks.chart import Chart
from benchmarks.client import TokenStream
from benchmarks.jarvis import Jarvis
from benchmarks.measurement import LEAD_SECONDS, Load, measure, warm_up
from benchmarks.report import Goal, Options, Report, Row
from benchmarks.schedule import Schedule
from benchmarks.servers import FastAPI, Server

SERVERS: tuple[type[Server], ...] = (FastAPI, Jarvis)
_COMMIT_MS = 10.0  # "plus one commit": its p99, with room
# Few, so that it is the batching that shows, not the load. So many ms apart they meet the common ticks of 24.4 ms at
# ten different moments, evenly: a stream keeps its moment, and a few at random would be better or worse off by 3 ms.
_STREAMS, _APART_SECONDS = 10, 0.0073


async def run(options: Options) -> Report:
    rates, seconds = ((20, 300), 1.0) if options.quick else ((10, 20, 50, 100, 300, 1000), 6.0)
    rows: list[Row] = []
    goals: list[Goal] = []
    lines: dict[str, list[tuple[float, float]]] = {}
    firsts: dict[str, float] = {}
    for kind in SERVERS:
        if not options.wants(kind.name):
            continue
        async with kind() as server:
            await warm_up(server)
            first = await _streams(server, 10 if options.quick else 100, 0.05, 2, 50.0)  # each alone with its first
            firsts[kind.name] = first.first_p50_ms
            rows.append(_row(kind, "first tokens", first))
            for rate in rates:
                load = await _streams(server, _STREAMS, _APART_SECONDS, round(seconds * rate), rate)
                rows.append(_row(kind, f"{rate}/s", load))
                lines.setdefault(kind.title, []).append((rate, load.age_mean_ms))
                if kind is Jarvis:
                    goals.append(Goal(f"mean delay at {rate}/s, ms", load.age_mean_ms, 40.0, kept_up=load.kept_up))
                    limit = 80.0 + _COMMIT_MS
                    goals.append(Goal(f"maximum delay at {rate}/s, ms", load.age_max_ms, limit, kept_up=load.kept_up))
    if {"jarvis", "fastapi"} <= firsts.keys():
        added = round(firsts["jarvis"] - firsts["fastapi"], 2)
        goals.append(Goal("first token, median, later than FastAPI's by ms", added, 2.0))
    title = "Delay of a token, from the model to the viewer"
    return Report("e", title, rows, goals, Chart(title, "mean, ms, by tokens/s", lines=lines))


async def _streams(server: Server, streams: int, apart_seconds: float, tokens: int, rate: float) -> Load:
    channels = await server.channels(streams)
    first_at = time.monotonic() + LEAD_SECONDS + streams / server.starts_per_second
    schedules = [Schedule(first_at + i * apart_seconds, tokens, rate) for i in range(streams)]
    pairs = zip(channels, schedules, strict=True)
    readers = [
        TokenStream(server.stream_request(channel, schedule), schedule, ends=server.streams_end)
        for channel, schedule in pairs
    ]
    return await measure(server, readers)


def _row(kind: type[Server], what: str, load: Load) -> Row:
    return {
        "server": kind.name,
        "what": what,
        "kept_up": load.kept_up,
        "mean_ms": load.age_mean_ms,
        "p99_ms": load.age_p99_ms,
        "max_ms": load.age_max_ms,
        "first_p50_ms": load.first_p50_ms,
        "first_p99_ms": load.first_p99_ms,
        "complete": f"{load.complete_streams}/{load.streams}",
        "error": load.error[:60],
    }
