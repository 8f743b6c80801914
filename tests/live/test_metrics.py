"""What `/metrics` counts is what happened: checked from outside, after real streams."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.client import Client
from tests.cluster.cluster import Cluster
from tests.corpus import plain_text
from tests.live.conftest import StartServer
from tests.live.site import FOREVER, SHORT, SILENT, Site, running_site
from tests.scrape import Scrape, scrape, scrape_until

LONG = "scripted:?tokens=100&rate=100"
BROKEN = "scripted:?fault=500"


@pytest.fixture(scope="module")
def measured() -> Iterator[Site]:
    """Its own, since all that others do is counted."""
    with running_site() as site:
        yield site


def running(scraped: Scrape) -> float:
    return scraped("jarvis_streams")


async def quiet(site: Site) -> Scrape:
    """The numbers once nothing runs and nobody watches."""
    return await scrape_until(site.server.url, lambda now: not running(now) and not now("jarvis_viewers"))


async def test_streams_are_counted_by_what_became_of_them(measured: Site) -> None:
    before = await quiet(measured)
    async with measured.client() as client:
        session = await client.new_session()
        assert await client.ask(session, SHORT).until_end() == "completed"
        stopped = await client.ask(session, FOREVER).until_text()
        await client.stop(session)
        assert await stopped.until_end() == "stopped"
        assert await client.ask(session, BROKEN).until_end() == "provider_error"
    grown = (await quiet(measured)).since(before)
    assert grown("jarvis_streams_started_total") == 3
    assert grown("jarvis_streams_ended_total") == 3
    assert grown("jarvis_streams_ended_total", state="completed", reason="completed") == 1
    assert grown("jarvis_streams_ended_total", state="stopped", reason="stopped") == 1
    assert grown("jarvis_streams_ended_total", state="failed", reason="provider_error") == 1
    assert grown("jarvis_provider_errors_total") == grown("jarvis_provider_errors_total", code="provider_error") == 1
    assert grown("jarvis_first_token_seconds_count") == 2


async def test_an_answer_that_is_tried_again_is_one_error_and_one_end(measured: Site) -> None:
    before = await quiet(measured)
    async with measured.client() as client:
        assert await client.ask(await client.new_session(), "scripted:?fault=context").until_end() == "completed"
    grown = (await quiet(measured)).since(before)
    assert grown("jarvis_provider_errors_total", code="provider_error") == 1
    assert grown("jarvis_streams_ended_total", reason="completed") == grown("jarvis_streams_ended_total") == 1


async def test_tokens_and_batches_are_those_that_the_viewer_got(measured: Site) -> None:
    before = await quiet(measured)
    async with measured.client() as client:
        session = await client.new_session()
        viewer = await client.ask(session, LONG).until_over()
        assert viewer.text == plain_text(100)
        events = (await client.session(session))["last_seq"]
    grown = (await quiet(measured)).since(before)
    batches = [seen.data["text"] for seen in viewer.history if seen.type == "chat.token"]
    assert grown("jarvis_tokens_total") == viewer.history[-1].data["tokens"] == 100
    assert grown("jarvis_flushes_total") == grown("jarvis_batch_size_bytes_count") == len(batches)
    assert grown("jarvis_flushes_total", cause="interval") >= len(batches) - 1
    assert grown("jarvis_batch_size_bytes_sum") == len(viewer.text.encode())
    assert grown("jarvis_token_age_at_flush_seconds_count") == len(batches)
    assert 0.02 * len(batches) < grown("jarvis_token_age_at_flush_seconds_sum") < 0.5 * len(batches)
    assert grown("jarvis_events_total") == events
    assert grown("jarvis_log_commit_seconds_count") >= len(batches)
    assert 0 < grown("jarvis_log_commit_seconds_sum") < 10
    assert grown("jarvis_gaps_repaired_total") == grown("jarvis_resets_total") == 0


async def test_large_tokens_leave_for_their_size(measured: Site) -> None:
    before = await quiet(measured)
    async with measured.client() as client:
        await client.ask(await client.new_session(), "scripted:?tokens=20000").until_over()
    grown = (await quiet(measured)).since(before)
    assert grown("jarvis_flushes_total", cause="bytes") > 1
    assert grown("jarvis_tokens_total") == 20_000


async def test_running_streams_are_told_by_their_state(measured: Site) -> None:
    await quiet(measured)
    url = measured.server.url
    async with measured.client() as client:
        speaking, silent = await client.new_session(), await client.new_session()
        await client.ask(speaking, FOREVER).until_text()
        await client.prompt(speaking, SHORT, if_busy="enqueue")
        await client.prompt(silent, SILENT)
        now = await scrape(url)
        states = [now("jarvis_streams", state=state) for state in ("queued", "thinking", "streaming")]
        assert states == [1, 1, 1]
        await client.stop(speaking)
        await client.stop(silent)
        await quiet(measured)


async def test_viewers_come_and_go(measured: Site) -> None:
    assert (await quiet(measured))("jarvis_viewers") == 0
    async with measured.client() as client:
        session = await client.new_session()
        viewers = [await client.follow(session, 0).until_open() for _ in range(3)]
        await scrape_until(measured.server.url, lambda now: now("jarvis_viewers") == 3)
        await viewers[0].disconnected()
        await scrape_until(measured.server.url, lambda now: now("jarvis_viewers") == 2)
    await quiet(measured)


async def test_a_cursor_that_the_log_cannot_serve_is_a_reset(measured: Site) -> None:
    before = await quiet(measured)
    async with measured.client() as client:
        session = await client.new_session()
        viewer = await client.follow(session, 999).until(lambda viewer: viewer.snapshots)
        assert viewer.snapshots[0].data["reset"] is True
        await client.follow(session).until(lambda viewer: viewer.snapshots)
    assert (await quiet(measured)).since(before)("jarvis_resets_total") == 1


async def test_both_formats_can_be_read_and_neither_tells_what_was_said(measured: Site) -> None:
    canary = "canary-of-metrics"
    async with measured.client() as client:
        session = await client.new_session()
        await client.ask(session, f"{canary} {SHORT}").until_over()
        plain = await scrape(measured.server.url)
        open_metrics = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
        async with client.http.get(f"{measured.server.url}/metrics", headers=open_metrics) as response:
            assert response.content_type == "application/openmetrics-text"
            assert response.headers["Cache-Control"] == "no-store"
            text = await response.text()
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    samples = {sample.name for family in families for sample in family.samples}
    assert samples == plain.names
    assert {"process_resident_memory_bytes", "process_open_fds", "jarvis_loop_lag_seconds_bucket"} <= samples
    for secret in (canary, session, "scripted"):
        assert secret not in plain.text + text


# --- several processes


@pytest.fixture
def without_redis() -> Iterator[Cluster]:
    with Cluster() as cluster:
        cluster.serve("a", "b")
        yield cluster


async def test_each_process_counts_its_own_and_a_viewer_elsewhere_reads_the_log(without_redis: Cluster) -> None:
    a, b = without_redis["a"], without_redis["b"]
    async with Client(a.url, without_redis.key) as here, Client(b.url, without_redis.key) as there:
        session = await here.new_session()
        viewer = await there.follow(session, 0).until_open()
        stream = (await here.prompt(session, "scripted:?tokens=30&rate=100")).data["stream_id"]
        await viewer.until_end(stream)
        both = [await scrape(url) for url in (a.url, b.url)]
    assert [now("jarvis_tokens_total") for now in both] == [30, 0]
    assert [now("jarvis_streams_ended_total") for now in both] == [1, 0]
    assert [now("jarvis_viewers") for now in both] == [0, 1]
    assert [now("jarvis_gaps_repaired_total") > 0 for now in both] == [False, True]


def test_processes_that_share_a_socket_are_told_apart_by_their_metrics_ports(
    start_server: StartServer, tmp_path: Path
) -> None:
    ports = [free_port(), free_port()]
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        env = {"CHAT_PROVIDER_URL": SHORT}
        made = [
            start_server(listener=listener, data_dir=tmp_path, env={**env, "METRICS_PORT": str(port)}) for port in ports
        ]
        asyncio.run(ask_and_count(made[0].url, [f"http://127.0.0.1:{port}" for port in ports]))
        assert [each.stop() for each in made] == [0, 0]


async def ask_and_count(shared: str, own: list[str]) -> None:
    """Whichever process answers, and however often they are asked: the sum is what was answered."""
    assert await refused(shared) == (404, None), "it would be any of them"
    for number in range(1, 9):
        async with Client(shared) as client:
            await client.ask(await client.new_session(), SHORT).until_over()
        await scrape_total(own, 5 * number)
    assert len({(await scrape(url))("process_start_time_seconds") for url in own}) == 2


async def refused(url: str) -> tuple[int, str | None]:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as response:
        return response.status, response.headers.get("WWW-Authenticate")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


async def scrape_total(urls: list[str], tokens: int) -> None:
    """Returns when the processes have together sent so many tokens; fails if it is ever more."""
    async with asyncio.timeout(10):
        while (total := sum([(await scrape(url))("jarvis_tokens_total") for url in urls])) != tokens:
            assert total < tokens


def test_a_metrics_port_that_is_taken_is_one_clear_sentence(start_server: StartServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(AssertionError, match="METRICS_PORT"):
        start_server(env={"METRICS_PORT": str(taken.getsockname()[1])})


def test_a_token_opens_the_numbers_to_those_who_have_it(start_server: StartServer) -> None:
    server = start_server(env={"METRICS_TOKEN": "let-me-see"})
    assert asyncio.run(scrape(server.url, Authorization="Bearer let-me-see"))("jarvis_viewers") == 0
    assert asyncio.run(refused(server.url)) == (401, "Bearer")
