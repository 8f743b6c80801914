"""Servers for the tests here: `site` is the product, `start_server` starts any, `served` has the test applications."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.live.server import TEST_APPLICATION, Server, running_server
from tests.live.site import Site, running_site

StartServer = Callable[..., Server]


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Takes what `running_server` takes; every server is gone after the test."""
    with ExitStack() as stack:

        def start(**options: Any) -> Server:
            return stack.enter_context(running_server(**options))

        yield start


@pytest.fixture(scope="module")
def served() -> Iterator[Server]:
    """One for a module: whatever a test does to it, the next one finds it unharmed."""
    env = {"REQUEST_TIMEOUT_SECONDS": "2", "SEND_TIMEOUT_SECONDS": "1", "SHUTDOWN_GRACE_SECONDS": "3"}
    with running_server(application=TEST_APPLICATION, env=env) as server:
        yield server


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """One for the whole run. Each test has sessions of its own. At the end its log must account for every stream."""
    with running_site() as site:
        yield site
        assert site.server.stop() == 0
        assert site.unaccounted() == {}
