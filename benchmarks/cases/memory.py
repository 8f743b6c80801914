"""(g) What an idle viewer and a running stream hold in memory."""

import asyncio
import time

from benchmarks import machine
from benchmarks.client import TokenStream, open_stream
from benchmarks.jarvis import Jarvis, JarvisUvicorn
from benchmarks.measurement import LEAD_SECONDS, warm_up
from benchmarks.report import Goal, Options, Report, Row
from benchmarks.schedule import Schedule, spread
from benchmarks.servers import FastAPI, Server

SERVERS: tuple[type[Server], ...] = (FastAPI, Jarvis, JarvisUvicorn)
_SETTLE_SECONDS = 2.0


async def run(options: Options) -> Report:
    count = 50 if options.quick else 500
    rows: list[Row] = []
    for kind in SERVERS:
        if options.wants(kind.name):
            viewer = await _viewers_kib(kind, count)
            rows.append({"server": kind.name, "viewer_kib": viewer, "stream_kib": await _streams_kib(kind, count)})
    goals = [
        Goal(f"{column} of {row['server']}", float(row[column]), 40.0)
        for row in rows
        if row["server"] != FastAPI.name
        for column in ("viewer_kib", "stream_kib")
    ]
    return Report("g", f"Memory per idle viewer and per running stream, {count} of them", rows, goals)


async def _viewers_kib(kind: type[Server], count: int) -> float:
    async with kind() as server:
        await warm_up(server)
        nothing = Schedule(time.monotonic(), 1, 1.0)
        requests = [server.watch_request(channel) for channel in await server.channels(count)]
        return await _growth_kib(server, [TokenStream(data, nothing, ends=False) for data in requests])


async def _streams_kib(kind: type[Server], count: int) -> float:
    """Streams of one token a second: what they hold, not what passes through."""
    async with kind() as server:
        await warm_up(server)
        channels = await server.channels(count)
        at = time.monotonic() + LEAD_SECONDS + count / server.starts_per_second
        # Not in step: what a burst of all needs for a moment stays with the process.
        pairs = zip(channels, spread(at, count, 1000, 1.0), strict=True)
        return await _growth_kib(server, [TokenStream(server.stream_request(*pair), pair[1]) for pair in pairs])


async def _growth_kib(server: Server, readers: list[TokenStream]) -> float:
    before = machine.memory_bytes(server.pid)
    for reader in readers:
        await open_stream(server.port, reader)
        await asyncio.sleep(1 / server.starts_per_second)
    await asyncio.sleep(_SETTLE_SECONDS)
    grown = machine.memory_bytes(server.pid) - before
    lost = sum(reader.done.is_set() or bool(reader.error) for reader in readers)
    for reader in readers:
        reader.close()
    if lost:
        raise RuntimeError(f"{server.name}: {lost} of {len(readers)} connections ended: {readers[0].error}")
    return round(grown / len(readers) / 1024, 1)
