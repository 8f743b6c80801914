"""Links that lose a third of all packets, or fall silent."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.cluster.client import Client
from tests.cluster.cluster import Cluster
from tests.faults.held import at_rest, given_back
from tests.faults.root import Network, needs_networks, needs_root
from tests.faults.scene import Scenes
from tests.live.server import Server

pytestmark = [needs_root, needs_networks]
HEARTBEAT_SECONDS = 1.0
FREED_SECONDS = 30 + 2 * HEARTBEAT_SECONDS + 8  # the kernel backs off, so it looks at its 30 s from time to time only


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture(scope="module")
def linked(network: Network, endpoint: str) -> Iterator[Cluster]:
    """Process `a`, which can only be reached through that network."""
    with (
        Cluster(CHAT_PROVIDER_URL=endpoint, EVENTS_HEARTBEAT_SECONDS=str(HEARTBEAT_SECONDS)) as cluster,
        network.listener() as listener,
    ):
        cluster.serve_on(listener, "a")
        yield cluster


@pytest.fixture
async def far(network: Network, linked: Cluster) -> AsyncIterator[Client]:
    """A caller at the other end of it, who connects again after some silence, as the page does."""
    async with Client(linked.key, make_socket=network.make_socket, silence_seconds=6 * HEARTBEAT_SECONDS) as client:
        yield client


async def test_f13_half_open(linked: Cluster, network: Network, far: Client, scenes: Scenes) -> None:
    """Packets are dropped both ways: what was open for these viewers is freed, and they come back and lose nothing."""
    a = linked["a"]
    at_rest_before = await at_rest(scenes, linked, a, far)
    scene = await scenes.begin(linked, a, far)
    viewers = [await scene.watch(a) for _ in range(4)]
    stream = await scene.ask(a, "scripted:?tokens=100000&rate=50")
    await viewers[-1].tokens_of(stream, scenes.chance.randint(1, 10))
    before = await asyncio.to_thread(sockets, a)
    async with network.rule("drop"):
        async with asyncio.timeout(FREED_SECONDS):
            while await asyncio.to_thread(sockets, a) > before - len(viewers):  # noqa: ASYNC110  (nobody tells)
                await asyncio.sleep(0.2)
    for viewer in scene.viewers:
        held = len(viewer.events)
        await viewer.until(lambda viewer: len(viewer.events) > held, 20)  # noqa: B023
    assert await far.at(a).stop(scene.session)
    await scene.end()
    await scene.verdict(a)
    await scene.leave()
    await given_back(a, at_rest_before)


async def test_f14_lossy_link(linked: Cluster, network: Network, far: Client, scenes: Scenes) -> None:
    """A third of all packets is lost, and what exceeds 256 kbit/s as well."""
    a = linked["a"]
    scene = await scenes.begin(linked, a, far)
    await scene.watch(a)
    await scene.watch(a)
    await scene.ask(a, f"scripted:?tokens={scenes.chance.randint(200, 300)}&rate=60")
    async with network.rule("limit rate over 32 kbytes/second drop", "numgen random mod 3 == 0 drop"):
        await scene.watch(a)
        await scene.end(60)
    await scene.verdict(a)


def sockets(server: Server) -> int:
    """How many the process has open."""
    found = 0
    for path in Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            found += str(path.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return found
