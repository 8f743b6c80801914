"""`python -m tests.faults.kill_at_any_seq --kills 20`: SIGKILL while viewers read; is all that they were shown stored?

Each kill meets eight streams, at any of their seqs, and their viewers. Afterwards another process is asked for the
logs from the beginning. What was shown and is not there, or is something else, is counted as gone. Must be 0.
"""
# ruff: noqa: T201  (a command prints what it found)

import argparse
import asyncio
from contextlib import AsyncExitStack, ExitStack
from random import Random

from tests.cluster.client import Client
from tests.cluster.cluster import Cluster
from tests.services import PostgresServer

STREAMS = 8
SCRIPT = "scripted:?tokens=100000&rate=200"


async def kill_once(cluster: Cluster, client: Client, chance: Random) -> tuple[int, int]:
    """How many events were shown, and how many of them are gone."""
    [mortal] = await cluster.start("mortal")
    async with AsyncExitStack() as stack:
        sessions = [await client.at(mortal).new_session() for _ in range(STREAMS)]
        viewers = [await stack.enter_async_context(client.watch(session, mortal)) for session in sessions]
        for session in sessions:
            await client.at(mortal).stream_id(session, SCRIPT)
        seq = chance.randint(1, 40)
        await chance.choice(viewers).until(lambda viewer: (viewer.cursor or 0) >= seq)
        cluster.kill("mortal")
        for viewer in viewers:
            await viewer.until(lambda viewer: len(viewer.breaks) > 0)
        stored = [await stack.enter_async_context(client.watch(session, cluster["witness"])) for session in sessions]
        shown = gone = 0
        for viewer, witness in zip(viewers, stored, strict=True):
            await witness.until(lambda witness: witness.ends(witness.events[0].data["stream_id"]), 20)
            log = {seen.seq: (seen.type, seen.data) for seen in witness.events}
            shown += len(viewer.events)
            gone += sum(log.get(seen.seq) != (seen.type, seen.data) for seen in viewer.events)
    return shown, gone


async def kill_often(name: str, cluster: Cluster, kills: int, seed: int) -> int:
    shown = gone = 0
    async with Client(cluster.key) as client:
        for number in range(kills):
            more, lost = await kill_once(cluster, client, Random(seed + number))
            shown, gone = shown + more, gone + lost
    print(f"{name}: {kills} kills (seeds {seed} to {seed + kills - 1}), {shown} events shown, {gone} then gone")
    return gone


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="for each database")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    gone = 0
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        for name, url in (("SQLite", ""), ("PostgreSQL", postgres.url("killed"))):
            cluster = stack.enter_context(Cluster(database_url=url))
            cluster.serve("witness")
            gone += asyncio.run(kill_often(name, cluster, options.kills, options.seed))
    return 1 if gone else 0


if __name__ == "__main__":
    raise SystemExit(main())
