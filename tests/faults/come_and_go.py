"""`python -m tests.faults.come_and_go --cycles 5000`: viewers connect and drop; what does the server still hold?

Observed from outside: descriptors, threads, asyncio tasks and memory of the process, its connections to Redis and
PostgreSQL. The baseline is taken when many have come and gone, since caches and pools fill once; what was held before
is shown beside it.
"""
# ruff: noqa: T201  (a command prints what it found)

import argparse
import asyncio
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import NamedTuple

import psycopg
import redis

from tests.cluster.client import Client
from tests.cluster.cluster import Cluster
from tests.faults.held import tasks
from tests.faults.readers import drop
from tests.live.server import Server
from tests.services import PostgresServer, RedisServer

AT_ONCE = 20
WARM_UP = 1500
MEMORY_BYTES = 5 << 20
SETTLED_SECONDS = 15.0


class Held(NamedTuple):
    files: int
    threads: int
    tasks: int
    redis_connections: int
    redis_subscriptions: int
    database_connections: int
    memory_bytes: int

    def exceeds(self, baseline: "Held") -> bool:
        more = self.memory_bytes > baseline.memory_bytes + MEMORY_BYTES
        return more or any(now > before for now, before in zip(self[:-1], baseline[:-1], strict=True))


class Observer:
    def __init__(self, server: Server, redis_server: RedisServer, database_url: str) -> None:
        self._server, self._redis_url, self._database_url = server, redis_server.url, database_url

    def held(self) -> Held:
        process = Path(f"/proc/{self._server.pid}")
        with redis.Redis.from_url(self._redis_url) as connection:
            clients = connection.client_list()
            subscriptions = connection.pubsub_channels()
        with psycopg.connect(self._database_url) as database:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            row = database.execute(query).fetchone()
        assert row is not None
        files, threads = len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))
        memory = self._server.memory_bytes()
        return Held(files, threads, tasks(self._server), len(clients) - 1, len(subscriptions), row[0] - 1, memory)

    def settled(self, baseline: Held) -> Held:
        """As soon as nothing exceeds the baseline, or when the time is up."""
        deadline = time.monotonic() + SETTLED_SECONDS
        while (held := self.held()).exceeds(baseline) and time.monotonic() < deadline:
            time.sleep(0.2)
        return held


async def cycles(server: Server, key: str, count: int, seed: int) -> None:
    chance = Random(seed)
    async with Client(key) as client:
        sessions = [await client.at(server).new_session() for _ in range(AT_ONCE)]
        for session in sessions:  # something to read, which does not grow meanwhile
            await client.at(server).stream_id(session, "scripted:?tokens=500&rate=500")

        async def come_and_go(number: int) -> None:
            session = sessions[number % AT_ONCE]
            headers = {} if chance.random() < 0.5 else {"Last-Event-ID": "0"}
            async with client.http.get(f"{server.url}/api/sessions/{session}/events/", headers=headers) as response:
                assert response.status == 200, await response.text()
                if chance.random() < 0.8:
                    await response.content.readany()
                if chance.random() < 0.5:
                    drop(response)
                response.close()

        for first in range(0, count, AT_ONCE):
            await asyncio.gather(*(come_and_go(number) for number in range(first, min(count, first + AT_ONCE))))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with ExitStack() as stack:
        postgres, redis_server = stack.enter_context(PostgresServer()), stack.enter_context(RedisServer())
        url = postgres.url("visited")
        cluster = stack.enter_context(Cluster(database_url=url, redis_url=redis_server.url, LOG_LEVEL="INFO"))
        [server] = cluster.serve("a")
        observer = Observer(server, redis_server, url)
        print(f"before the first: {observer.held()}", flush=True)
        asyncio.run(cycles(server, cluster.key, WARM_UP, options.seed))
        time.sleep(3)  # what the last of them left is taken away in the background
        baseline = observer.held()
        print(f"after {WARM_UP} cycles: {baseline}", flush=True)
        asyncio.run(cycles(server, cluster.key, options.cycles, options.seed + 1))
        held = observer.settled(baseline)
        print(f"after {options.cycles} more: {held}")
        print(f"memory: {(held.memory_bytes - baseline.memory_bytes) / (1 << 20):+.1f} MiB")
    return int(held.exceeds(baseline))


if __name__ == "__main__":
    raise SystemExit(main())
