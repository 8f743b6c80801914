"""(f) A second prompt: how soon the first one's answer has ended, and how soon its own has begun."""

import asyncio
import time

from benchmarks.jarvis import Jarvis
from benchmarks.measurement import percentile_ms
from benchmarks.recorder import Recorder
from benchmarks.redis import Redis
from benchmarks.report import Goal, Options, Report, Row
from benchmarks.schedule import Schedule


async def run(options: Options) -> Report:
    rounds = 5 if options.quick else 100
    async with Jarvis() as one:
        rows = [await _row("one process", one, one, rounds)]
    async with Redis() as redis, Jarvis(REDIS_URL=redis.url) as one, Jarvis(shares=one, REDIS_URL=redis.url) as two:
        rows.append(await _row("two processes", one, two, rounds))
    goals = [
        Goal(f"{what}, 99 %, ms, in {row['server']}", row[f"{column}_p99_ms"], limit)
        for row, limit in zip(rows, (50.0, 100.0), strict=True)
        for what, column in (("the first's end", "ended"), ("own first event", "began"))
    ]
    return Report("f", "A second prompt interrupts the first", rows, goals)


async def _row(name: str, first: Jarvis, second: Jarvis, rounds: int) -> Row:
    sessions = await first.sessions(rounds + 3)
    times = [await _interrupt(first, second, session) for session in sessions][3:]  # those warmed it up
    ended, began = (sorted(values) for values in zip(*times, strict=True))
    return {
        "server": name,
        "rounds": rounds,
        "ended_p50_ms": percentile_ms(ended, 0.5),
        "ended_p99_ms": percentile_ms(ended, 0.99),
        "began_p50_ms": percentile_ms(began, 0.5),
        "began_p99_ms": percentile_ms(began, 0.99),
    }


async def _interrupt(first: Jarvis, second: Jarvis, session: str) -> tuple[float, float]:
    """Seconds from sending the second prompt to the end of the first's answer, and to its own first event."""
    schedule = Schedule(time.monotonic(), 3000, 50.0)
    running = await Recorder.connect(first.port, first.stream_request(session, schedule))
    await running.when("⟨10:".encode())
    await asyncio.sleep(0.03)
    sent = time.monotonic()
    following = await Recorder.connect(second.port, second.stream_request(session, Schedule(sent, 3, 50.0)))
    try:
        ended = await running.when(b'"interrupted"')
        began = await following.when(b"event: chat.")
        await following.when(b"event: chat.end")
    finally:
        running.close()
        following.close()
    return ended - sent, began - sent
