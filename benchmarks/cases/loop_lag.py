"""(h) How late the server's event loop is, at half of what it can carry."""

import asyncio
import tempfile
import time
from math import ceil
from pathlib import Path

from benchmarks.jarvis import Jarvis, JarvisUvicorn
from benchmarks.loop_watch import TICK_SECONDS
from benchmarks.measurement import Load, percentile_ms, run_streams, warm_up
from benchmarks.report import Goal, Options, Report, Row
from benchmarks.servers import FastAPI, Server

SERVERS: tuple[type[Server], ...] = (FastAPI, Jarvis, JarvisUvicorn)
_UNKNOWN_CAPACITY = 2_000  # if (b) did not run before


async def run(options: Options) -> Report:
    capacity = options.found["b"].value("jarvis", "streams") if "b" in options.found else 0
    streams, seconds = (20, 1.5) if options.quick else (int(capacity or _UNKNOWN_CAPACITY) // 2, 15.0)
    rows: list[Row] = []
    for kind in SERVERS:
        if options.wants(kind.name):
            load, lags = await _run_server(kind, streams, seconds)
            rows.append(_row(load, sorted(lags)))
    goals = [
        Goal("lag of jarvis, 99.9 %, ms", row["lag_p999_ms"], 50.0, kept_up=row["kept_up"])
        for row in rows
        if row["server"] == "jarvis"
    ]
    return Report("h", f"Loop lag with {streams} streams", rows, goals)


async def _run_server(kind: type[Server], streams: int, seconds: float) -> tuple[Load, list[float]]:
    with tempfile.TemporaryDirectory(prefix="benchmark-lag-") as folder:
        output = Path(folder) / "lags"

        class Watched(kind):  # type: ignore[valid-type, misc]  # the same server, run by loop_watch
            def command(self) -> list[str]:
                python, *script = super().command()
                return [python, "-m", "benchmarks.loop_watch", str(output), *script]

        server: Server = Watched()
        async with server:
            await warm_up(server)
            began = time.monotonic()
            load = await run_streams(server, streams=streams, seconds=seconds)
            ended = time.monotonic()
        text = await asyncio.to_thread(output.read_text)
    pairs = (line.split() for line in text.splitlines())
    return load, [each for at, lag in pairs if began <= float(at) <= ended for each in _all_that_waited(float(lag))]


def _all_that_waited(lag: float) -> list[float]:
    """A loop that is late by 500 ms runs one late timer of ours, but would have kept 50 waiting, each less long."""
    return [lag, *(lag - i * TICK_SECONDS for i in range(1, ceil(lag / TICK_SECONDS)))]


def _row(load: Load, lags: list[float]) -> Row:
    return {
        "server": load.server,
        "streams": load.streams,
        "kept_up": load.kept_up,
        "lag_p50_ms": percentile_ms(lags, 0.5),
        "lag_p99_ms": percentile_ms(lags, 0.99),
        "lag_p999_ms": percentile_ms(lags, 0.999),
        "lag_max_ms": percentile_ms(lags, 1.0),
        "server_share": load.server_share,
        "complete": f"{load.complete_streams}/{load.streams}",
    }
