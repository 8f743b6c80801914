"""(i) Streams asked of one process, watched through another, over Redis: CPU of both, Redis commands per token."""

import asyncio
import time

from benchmarks import machine
from benchmarks.client import TokenStream, open_stream, wait_for_all
from benchmarks.jarvis import Jarvis
from benchmarks.measurement import LEAD_SECONDS
from benchmarks.redis import Redis
from benchmarks.report import Options, Report, Row, goal_of_ratio
from benchmarks.schedule import spread
from benchmarks.servers import ResumableStream, Server


async def run(options: Options) -> Report:
    streams, seconds = (10, 1.5) if options.quick else (100, 10.0)
    rows: list[Row] = []
    if options.wants("jarvis"):
        async with Redis() as redis, Jarvis(REDIS_URL=redis.url) as one, Jarvis(shares=one, REDIS_URL=redis.url) as two:
            await _run(redis, one, two, 5, 0.5)
            rows.append(await _run(redis, one, two, streams, seconds))
    if options.wants("resumable-stream"):
        url = {"REDIS_URL": ""}
        async with Redis() as redis:
            url["REDIS_URL"] = redis.url
            async with ResumableStream(**url) as node, ResumableStream(**url) as other:
                await _run(redis, node, other, 5, 0.5)
                rows.append(await _run(redis, node, other, streams, seconds))
    goals = goal_of_ratio(rows, "cpu_us", "jarvis", "resumable-stream", 1.0)
    return Report("i", f"Two processes and Redis, {streams} streams, each read from both", rows, goals)


async def _run(redis: Redis, asked: Server, watched: Server, streams: int, seconds: float) -> Row:
    channels = await asked.channels(streams)
    pace = min(asked.starts_per_second, watched.starts_per_second)
    first_at = time.monotonic() + LEAD_SECONDS + 3 * streams / pace
    schedules = spread(first_at, streams, round(seconds * 50), 50.0)
    askers = [
        TokenStream(asked.stream_request(channel, schedule), schedule)
        for channel, schedule in zip(channels, schedules, strict=True)
    ]
    watchers = [
        TokenStream(watched.watch_request(channel), schedule, ends=False)
        for channel, schedule in zip(channels, schedules, strict=True)
    ]
    pids = (asked.pid, watched.pid, redis.process.pid)
    work, before = await redis.work(), [machine.cpu_seconds(pid) for pid in pids]
    for asker, watcher in zip(askers, watchers, strict=True):
        await open_stream(asked.port, asker)
        await asker.begun.wait()  # it is there before it is watched
        await open_stream(watched.port, watcher)
        await asyncio.sleep(1 / pace)
    await wait_for_all([*askers, *watchers], max(each.ends_at for each in schedules) + 5.0)
    used = [machine.cpu_seconds(pid) - start for pid, start in zip(pids, before, strict=True)]
    commands, reads = (after - start for after, start in zip(await redis.work(), work, strict=True))
    tokens = max(1, sum(watcher.tokens for watcher in watchers))
    for reader in (*askers, *watchers):
        reader.close()
    errors = [reader.trouble for reader in (*askers, *watchers) if reader.trouble]
    return {
        "server": asked.name,
        "kept_up": all(each.complete for each in (*askers, *watchers)),
        "cpu_us": round((used[0] + used[1]) / tokens * 1e6, 1),
        "asked_us": round(used[0] / tokens * 1e6, 1),
        "watched_us": round(used[1] / tokens * 1e6, 1),
        "redis_us": round(used[2] / tokens * 1e6, 1),
        "commands_per_token": round(commands / tokens, 3),
        "reads_per_token": round(reads / tokens, 3),  # of Redis: round trips
        "complete": f"{sum(each.complete for each in (*askers, *watchers))}/{2 * streams}",
        "error": errors[0][:60] if errors else "",
    }
