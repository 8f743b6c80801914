"""(j) Catching up: from the request to the last of 2,000 stored events."""

import asyncio
import time

from benchmarks.jarvis import Jarvis
from benchmarks.measurement import percentile_ms
from benchmarks.recorder import Recorder
from benchmarks.report import Goal, Options, Report
from benchmarks.schedule import Schedule


async def run(options: Options) -> Report:
    tokens, rounds = (300, 3) if options.quick else (2000, 20)
    async with Jarvis(EVENTS_FLUSH_BYTES="1") as jarvis:  # every token leaves at once: an event each
        session = (await jarvis.sessions(1))[0]
        schedule = Schedule(time.monotonic() + 0.2, tokens, 200.0)
        writer = await Recorder.connect(jarvis.port, jarvis.stream_request(session, schedule))
        await writer.when(b"event: chat.end", tokens / 200 + 30)
        times: list[float] = []
        events = 0
        for _ in range(rounds):
            began = time.monotonic()
            reader = await Recorder.connect(jarvis.port, jarvis.events_request(session, after=0))
            times.append(await reader.when(b"event: chat.end") - began)
            events = reader.data.count(b"\nevent: chat.")
            reader.close()
            await asyncio.sleep(0.1)
    times.sort()
    row = {
        "server": "jarvis",
        "events": events,
        "p50_ms": percentile_ms(times, 0.5),
        "max_ms": percentile_ms(times, 1.0),
        "events_per_second": round(events / times[len(times) // 2]),
    }
    goals = [
        Goal("catching up, slowest, ms", percentile_ms(times, 1.0), 1000.0),
        Goal("events there were", events, tokens * 0.9, at_least=True),
    ]
    return Report("j", "Resume: the time to catch up", [row], goals)
