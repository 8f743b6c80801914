"""(k) A client that leaves: from its close to the end of its stream, as another viewer of the session sees it."""

import time

from benchmarks.jarvis import Jarvis, JarvisUvicorn
from benchmarks.measurement import percentile_ms
from benchmarks.recorder import Recorder
from benchmarks.report import Goal, Options, Report, Row
from benchmarks.schedule import Schedule


async def run(options: Options) -> Report:
    rounds = 5 if options.quick else 100
    rows: list[Row] = []
    for kind in (Jarvis, JarvisUvicorn):
        if options.wants(kind.name):
            async with kind() as jarvis:
                times = [await _leave(jarvis, session) for session in await jarvis.sessions(rounds + 3)][3:]
            times.sort()
            row: Row = {"server": kind.name, "rounds": rounds, "p50_ms": percentile_ms(times, 0.5)}
            rows.append({**row, "p99_ms": percentile_ms(times, 0.99), "max_ms": percentile_ms(times, 1.0)})
    goals = [Goal(f"noticed by {row['server']}, 99 %, ms", float(row["p99_ms"]), 100.0) for row in rows]
    return Report("k", "A disconnect is noticed and the stream has ended", rows, goals)


async def _leave(jarvis: Jarvis, session: str) -> float:
    schedule = Schedule(time.monotonic(), 3000, 50.0)
    watcher = await Recorder.connect(jarvis.port, jarvis.events_request(session, after=0))
    asker = await Recorder.connect(jarvis.port, jarvis.stream_request(session, schedule))
    await asker.when("⟨5:".encode())
    left = time.monotonic()
    asker.close()
    try:
        return await watcher.when(b'"disconnected"') - left
    finally:
        watcher.close()
