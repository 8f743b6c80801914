"""Who holds the event loop is named in the log, while it is held; how late it was is measured."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from tests.live.conftest import StartServer
from tests.live.log_lines import parse
from tests.live.raw_client import RawClient
from tests.live.server import TEST_APPLICATION, Runner, Server, wait_until
from tests.scrape import Scrape, scrape

HELD_SECONDS = 0.4
UNSEEN_SECONDS = 0.085  # what comes between two looks, and a little
UNWATCHED = {"PYTHONPATH": ""}  # `tests/blocking/` would let nobody block the loop


@pytest.fixture(params=["serve", "uvicorn"])
def watched(request: pytest.FixtureRequest, start_server: StartServer) -> Iterator[Server]:
    runner: Runner = request.param
    server = start_server(runner=runner, application=TEST_APPLICATION, env=UNWATCHED)
    hold(server, 0)  # what is imported with the first request holds the loop, too
    yield server
    assert server.stop() in (0, -signal.SIGTERM), "the watch does not hold up the end"  # uvicorn raises it once more
    assert "events_bus_closed" in server.log_text()


def hold(server: Server, seconds: float, how: str = "burn") -> None:
    """Returns when the loop has been held for so long."""
    with RawClient(server) as client:
        client.get(f"/hold?seconds={seconds}&how={how}")
        client.read_until(b"held")


def told_by(server: Server) -> Scrape:
    return asyncio.run(scrape(server.url))


def warnings(server: Server, name: str) -> list[dict[str, str]]:
    """The pairs of each `loop_lag` whose stack has this function."""
    parsed = [parse(line) for line in server.log_text().splitlines()]
    assert {level for _, level, event, _ in parsed if event == "loop_lag"} <= {"warning"}
    return [pairs for _, _, event, pairs in parsed if event == "loop_lag" and name in pairs["stack"]]


@pytest.mark.parametrize("how", ["burn", "block"])
def test_who_holds_the_loop_is_named(watched: Server, how: str) -> None:
    before = told_by(watched)
    hold(watched, HELD_SECONDS, how)
    wait_until(lambda: warnings(watched, how))
    [told] = warnings(watched, how)
    assert HELD_SECONDS - UNSEEN_SECONDS < float(told["seconds"]) < HELD_SECONDS + 0.3
    innermost, caller, *_ = told["stack"].split(" < ")
    assert innermost.endswith(f" {how}")
    assert "live/apps.py:" in innermost
    assert caller.endswith(" hold")
    after = told_by(watched)
    assert after.late("0.25") - before.late("0.25") == 1
    assert after("jarvis_loop_lag_longest_seconds") >= HELD_SECONDS - UNSEEN_SECONDS


def test_a_loop_that_is_never_late_is_told_of_by_nobody(watched: Server) -> None:
    before = told_by(watched)
    hold(watched, 0.05)
    wait_until(lambda: told_by(watched).since(before)("jarvis_loop_lag_seconds_count") > 20)
    assert warnings(watched, "burn") == []


def test_a_loop_that_is_held_for_long_is_told_of_before_it_goes_on(start_server: StartServer) -> None:
    server = start_server(application=TEST_APPLICATION, env=UNWATCHED)
    with RawClient(server) as client:
        client.get("/hold?seconds=600&how=block")
        wait_until(lambda: warnings(server, "block"), 5)
        wait_until(lambda: len(warnings(server, "block")) == 2, 5)


def test_so_many_lines_a_minute_and_no_more(start_server: StartServer) -> None:
    server = start_server(application=TEST_APPLICATION, env={"LOOP_LAG_WARNING_SECONDS": "0.02"})
    for _ in range(15):
        hold(server, 0.1)
    hold(server, 0)
    assert 8 <= len(warnings(server, "burn")) <= 10
    assert len(warnings(server, "")) == 10


def test_what_is_late_is_a_setting(start_server: StartServer) -> None:
    server = start_server(application=TEST_APPLICATION, env={"LOOP_LAG_WARNING_SECONDS": "0.6"})
    hold(server, 0.4)
    hold(server, 0.8)
    wait_until(lambda: warnings(server, "burn"))
    [told] = warnings(server, "burn")
    assert float(told["seconds"]) > 0.6
