"""What a process holds for those who are connected to it, and that it gives all of it back (I6). Seen from outside."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.blocking import ask_for_tasks
from tests.cluster.client import Client
from tests.cluster.cluster import Cluster
from tests.faults.scene import Scenes
from tests.live.server import Server, wait_until

GIVEN_BACK_SECONDS = 15.0
CROWD = 12  # more than a process has threads for its database
CALM = 4  # looks in a row that found the same


class Held(NamedTuple):
    """Descriptors and asyncio tasks. SQLite's files are left out: each thread keeps its own, whoever is connected."""

    files: int
    tasks: int

    def exceeds(self, before: "Held") -> bool:
        return self.files > before.files or self.tasks > before.tasks


def held(server: Server) -> Held:
    """Blocks for a moment."""
    return Held(files(server), tasks(server))


def files(server: Server) -> int:
    found = 0
    for path in Path(f"/proc/{server.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found += ".sqlite3" not in str(path.readlink())
    return found


def tasks(server: Server) -> int:
    told = ask_for_tasks(server.pid, server.data_dir)
    wait_until(told.exists)
    return int(told.read_text())


async def at_rest(scenes: Scenes, cluster: Cluster, server: Server, client: Client | None = None) -> Held:
    """What the process holds when many have come and gone: threads and their connections are made once, and kept."""
    scene = await scenes.begin(cluster, server, client)
    await scene.watch(server)
    await scene.ask(server, "scripted:?tokens=5")
    await scene.end()
    await asyncio.gather(*(scene.watch(server) for _ in range(CROWD)))
    await asyncio.gather(*(scene.client.at(server).session(scene.session) for _ in range(CROWD)))
    await scene.leave()
    found = [await asyncio.to_thread(held, server)]
    async with asyncio.timeout(GIVEN_BACK_SECONDS):
        while len(found) < CALM or len({*found[-CALM:]}) > 1:
            await asyncio.sleep(0.1)
            found.append(await asyncio.to_thread(held, server))
    return found[-1]


async def given_back(server: Server, before: Held) -> None:
    """Returns when the process holds no more than before; fails if it still does when the time is up."""
    deadline = time.monotonic() + GIVEN_BACK_SECONDS
    while (now := await asyncio.to_thread(held, server)).exceeds(before):
        assert time.monotonic() < deadline, f"{now} instead of {before}"
        await asyncio.sleep(0.1)
