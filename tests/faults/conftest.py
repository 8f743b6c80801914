"""The faults' servers, and their seeds (`--rounds N`: N of them for each scenario)."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.cluster.cluster import Cluster
from tests.faults.scene import Scenes
from tests.live.server import Server
from tests.live.site import running_endpoint
from tests.services import PostgresServer, RedisServer

FAULT = re.compile(r"f\d\d")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", type=int, default=1, help="seeds for each fault scenario")
    parser.addoption("--first-seed", type=int, default=0, help="the first of these seeds")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first = metafunc.config.getoption("--first-seed", 0)
        seeds = range(first, first + metafunc.config.getoption("--rounds", 1))
        metafunc.parametrize("seed", seeds, ids=[f"seed{seed}" for seed in seeds])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/faults/" in str(item.path) and FAULT.search(item.name):
            item.add_marker(pytest.mark.services)


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The address of a scripted model endpoint, a process of its own."""
    with running_endpoint() as url:
        yield url


@pytest.fixture(scope="session")
def small(endpoint: str) -> Iterator[Cluster]:
    """Processes `a` and `b` on one SQLite file, without Redis; their model is the endpoint."""
    with Cluster(
        CHAT_PROVIDER_URL=endpoint,
        EVENTS_HEARTBEAT_SECONDS="2",
        SEND_TIMEOUT_SECONDS="2",
        CHAT_PROVIDER_IDLE_SECONDS="4",
    ) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def grown(postgres_server: PostgresServer, redis_server: RedisServer, endpoint: str) -> Iterator[Cluster]:
    """Processes `a` and `b` on PostgreSQL and Redis; their model is the endpoint."""
    url = postgres_server.url("faults")
    with Cluster(
        database_url=url, redis_url=redis_server.url, CHAT_PROVIDER_URL=endpoint, SHUTDOWN_GRACE_SECONDS="3"
    ) as cluster:
        yield cluster


@pytest.fixture(params=["small", "grown"])
def either(request: pytest.FixtureRequest) -> Cluster:
    """The same on both databases."""
    cluster: Cluster = request.getfixturevalue(request.param)
    return cluster


@pytest.fixture
async def scenes(request: pytest.FixtureRequest, seed: int) -> AsyncIterator[Scenes]:
    fault = FAULT.search(request.node.name)
    assert fault is not None
    async with AsyncExitStack() as stack:
        yield Scenes(stack, fault[0].upper(), seed)


async def up(cluster: Cluster, *names: str, **settings: str) -> list[Server]:
    """These processes; those that do not run (any more) are started."""
    dead = [name for name in names if name not in cluster.servers or cluster[name].process.poll() is not None]
    await cluster.start(*dead, runner="serve", **settings)
    return [cluster[name] for name in names]


async def logged_since(cluster: Cluster, name: str, event: str, before: int) -> list[str]:
    """The process's lines of that event, beyond so many that were there before, as soon as there are any."""
    async with asyncio.timeout(10):
        while not (lines := (await cluster.log_lines(name, event))[before:]):  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.05)
    return lines
