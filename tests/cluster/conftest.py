"""Servers for the tests here: processes on private PostgreSQL and Redis servers."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.cluster.client import Client
from tests.cluster.cluster import Cluster
from tests.services import PostgresServer, RedisServer, postgres_server, redis_server

__all__ = ["postgres_server", "redis_server"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/cluster/" in str(item.path):
            item.add_marker(pytest.mark.services)


@pytest.fixture(scope="session")
def standing(postgres_server: PostgresServer, redis_server: RedisServer) -> Iterator[Cluster]:
    """Processes `a`, `b` and `c` on PostgreSQL and Redis, for all tests that leave them as they are."""
    with Cluster(database_url=postgres_server.url("standing"), redis_url=redis_server.url) as cluster:
        cluster.serve("a", "b", "c")
        yield cluster


@pytest.fixture
def cluster(postgres_server: PostgresServer, redis_server: RedisServer) -> Iterator[Cluster]:
    """On PostgreSQL and Redis; no process is started yet, and any may be killed."""
    with Cluster(database_url=postgres_server.url("mortal"), redis_url=redis_server.url) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def on_sqlite() -> Iterator[Cluster]:
    """Processes `a` and `b` on one SQLite file, without Redis: they hear of each other through the log alone."""
    with Cluster() as cluster:
        cluster.serve("a", "b")
        yield cluster


@pytest.fixture
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A caller of the cluster that the test uses."""
    [name] = {"standing", "cluster", "on_sqlite"} & set(request.fixturenames)
    cluster: Cluster = request.getfixturevalue(name)
    async with Client(cluster.key) as client:
        yield client
