"""The costs that the capacity plan is made of, measured as a fleet runs: a model over HTTP, Redis, PostgreSQL."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import machine
from benchmarks.cases.cpu_per_token import run_server
from benchmarks.cases.fan_out import watch
from benchmarks.fenced_rows import rows_per_second
from benchmarks.jarvis import Jarvis
from benchmarks.measurement import Load
from benchmarks.postgres import Postgres
from benchmarks.redis import Redis
from benchmarks.report import Row
from benchmarks.servers import Endpoint

_THOUSAND = 1000 * 50.0  # tokens a second of 1,000 streams
_SETTLE_SECONDS = 1.5  # until PostgreSQL's sessions have told what they did


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of the process's one core."""

    token: float
    batch: float
    viewer: float
    stream: float  # its request, its start and its end


async def measured() -> tuple[Costs, Row]:
    """From three loads: some tokens a batch, three times as many, many viewers of a batch. And what 1,000 streams are
    to Redis and PostgreSQL, taken from the first, which has 100, with how many rows a second PostgreSQL takes at most.

    Both of the first two leave at common ticks: a batch with a moment and a commit of its own costs more.
    """
    async with Endpoint() as endpoint, Redis() as redis, Postgres() as postgres:

        def deployed() -> Jarvis:
            address = f"http://127.0.0.1:{endpoint.port}/v1"
            return Jarvis(provider=address, CHAT_MODEL="bench", REDIS_URL=redis.url, DATABASE_URL=postgres.url)

        dense, shared = await _with_shared(deployed, redis, postgres)
        denser = await run_server(deployed, streams=100, seconds=10, rate=150.0)
        watched = await watch(deployed, viewers=200, seconds=10)
        shared["postgres_rows_per_s"] = await rows_per_second(postgres.url)
    late = [load.streams for load in (dense, denser, watched) if not load.kept_up]
    if late:
        print(f"Not all kept up ({late} streams or viewers): these costs are too low.")
    # Of each: steady_us = token + batch x reads_per_token
    batch = (dense.steady_us - denser.steady_us) / (dense.reads_per_token - denser.reads_per_token)
    token = dense.steady_us - batch * dense.reads_per_token
    viewer = watched.steady_us / watched.reads_per_token
    stream = (dense.whole_us - dense.steady_us) * dense.tokens / dense.streams
    return Costs(*(round(each / 1e6, 9) for each in (token, batch, viewer, stream))), shared


async def _with_shared(deployed: Callable[[], Jarvis], redis: Redis, postgres: Postgres) -> tuple[Load, Row]:
    pids = redis.process.pid, postgres.process.pid
    await run_server(deployed, streams=5, seconds=0.5)  # makes the tables
    await asyncio.sleep(_SETTLE_SECONDS)
    before = [*await redis.work(), *await postgres.work(), *map(machine.cpu_seconds, pids)]
    load = await run_server(deployed, streams=100, seconds=10)
    await asyncio.sleep(_SETTLE_SECONDS)
    after = [*await redis.work(), *await postgres.work(), *map(machine.cpu_seconds, pids)]
    per_second = [(now - then) / load.tokens * _THOUSAND for now, then in zip(after, before, strict=True)]
    names = ("redis_commands_per_s", "redis_reads_per_s", "rows_per_s", "commits_per_s")
    row: Row = {"streams": 1000, **dict(zip(names, map(round, per_second[:4]), strict=True))}
    return load, {**row, "redis_cores": round(per_second[4], 2), "postgres_cores": round(per_second[5], 2)}
