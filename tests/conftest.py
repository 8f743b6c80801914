"""What every test shares: no blocking call on the event loop goes unseen."""

import inspect
from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

pytest_plugins = ["tests.services"]


@pytest.fixture(autouse=True)
def no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """In async tests a sleep, a lock, a file or a socket call on the loop raises `BlockingError`."""
    if not inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield None
        return
    with blockbuster_ctx() as blockbuster:
        yield blockbuster
