"""What every test shares: no blocking call on the event loop goes unseen."""

import inspect
import os
from collections.abc import Iterator

import hypothesis
import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from django.conf import settings

from jarvis_site.log_writer import Console

pytest_plugins = ["tests.services", "tests.faults.recorded"]


def pytest_configure(config: pytest.Config) -> None:
    """The log's console thread writes past pytest's capture, even behind its summary; `system.log` has it all."""
    Console.write = lambda self, lines: None  # type: ignore[method-assign]
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a safe one takes 0.3 s a log-in


# The same examples in every run of CI: what they find is due to the change that is tested.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("ci" if "CI" in os.environ else "here")


_SLOW = {"test_make", "test_admin", "test_registry", "test_hub", "test_callers"}
_LONG = {"test_long_session", "test_postgresql", "test_check_streaming", "test_database", "test_processes"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole folders need servers of their own, or a minute: `make test-quick` leaves them out.

    Files that take a minute or two come first: `make test` gives each file to one of its workers, and waits for the
    last of them.
    """
    items.sort(key=lambda item: item.path.stem not in _LONG)
    for item in items:
        if item.path.parent.name in {"api", "browser", "cluster", "faults", "live"} or item.path.stem in _SLOW:
            item.add_marker("services")


@pytest.fixture(autouse=True)
def no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """In async tests a sleep, a lock, a file or a socket call on the loop raises `BlockingError`."""
    if not inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield None
        return
    with blockbuster_ctx() as blockbuster:
        yield blockbuster
