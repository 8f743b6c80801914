"""Who dies, sleeps or is cut off takes nothing with it that anybody saw, and everybody hears of it in time."""

import asyncio
import time
from contextlib import AsyncExitStack
from itertools import pairwise

import psycopg

from tests.cluster.client import Client, Viewer
from tests.cluster.cluster import Cluster
from tests.faults.checker import violations
from tests.services import PostgresServer, RedisServer

LONG = "scripted:?tokens=5000&rate=50"
SHORT = "scripted:?tokens=20&rate=200"
WORKER_LOST_SECONDS = 10.0


async def test_a_killed_process_is_missed_within_ten_seconds_and_nothing_seen_is_lost(
    cluster: Cluster, client: Client
) -> None:
    a, b = await cluster.start("a", "b")
    session = await client.at(a).new_session()
    async with client.watch(session, b) as viewer, client.watch(session, a, b) as moved:
        stream = await client.at(a).stream_id(session, LONG)
        waiting = await client.at(a).stream_id(session, SHORT, if_busy="enqueue")
        await viewer.tokens_of(stream, 10)
        cluster.kill("a")
        killed = time.monotonic()
        end = await viewer.end_of(stream, WORKER_LOST_SECONDS)
        assert (end.type, end.data["code"], end.data["retryable"]) == ("chat.error", "worker_lost", True)
        await moved.end_of(stream, 2)
        assert (await viewer.end_of(waiting, 1)).data["code"] == "worker_lost"
        stored = await client.at(b).session(session)
        assert viewer.text(stream) == stored["messages"][1]["text"] != ""
        again = await client.at(b).stream_id(session, SHORT)
        assert (await viewer.end_of(again)).data["reason"] == "completed"
        await moved.end_of(again)
        assert violations([viewer, moved], await client.at(b).session(session)) == []
    ended = [line for line in await cluster.log_lines("b", "stream_end") if "worker_lost" in line]
    assert len(ended) == 2
    assert all("cleanup_done=True" in line for line in ended)
    assert end.at - killed < WORKER_LOST_SECONDS


async def test_a_process_that_starts_again_ends_at_once_what_it_left(cluster: Cluster, client: Client) -> None:
    [a] = await cluster.start("a")
    session = await client.at(a).new_session()
    async with client.watch(session, a) as viewer:
        stream = await client.at(a).stream_id(session, LONG)
        await viewer.tokens_of(stream, 5)
        seen = viewer.text(stream)
        cluster.kill("a")
    [again] = await cluster.start("a")
    async with client.watch(session, again) as viewer:
        assert (await viewer.end_of(stream, 3)).data["code"] == "worker_lost"
        assert viewer.text(stream).startswith(seen)
        assert violations([viewer], await client.at(again).session(session)) == []


async def test_a_frozen_process_is_overtaken_and_refused_when_it_wakes(cluster: Cluster, client: Client) -> None:
    a, b = await cluster.start("a", "b")
    session = await client.at(a).new_session()
    async with client.watch(session, b) as viewer, client.watch(session, a) as stayed:
        stream = await client.at(a).stream_id(session, LONG)
        await viewer.tokens_of(stream, 10)
        cluster.freeze("a")
        end = await viewer.end_of(stream, WORKER_LOST_SECONDS)
        assert end.data["code"] == "worker_lost"
        after = await client.at(b).stream_id(session, SHORT)
        await viewer.end_of(after)
        cluster.thaw("a")
        await stayed.end_of(stream, 10)
        await stayed.end_of(after, 10)
        await cluster.until_logged("a", "stream_fenced")  # the woken process learns that it has lost its turn
        third = await client.at(a).stream_id(session, SHORT)  # it serves on
        await viewer.end_of(third)
        await stayed.end_of(third)
        assert violations([viewer, stayed], await client.at(b).session(session)) == []


async def test_connections_to_the_database_that_are_cut_lose_nothing_and_fail_no_request(
    cluster: Cluster, client: Client, postgres_server: PostgresServer
) -> None:
    a, b = await cluster.start("a", "b")
    session = await client.at(a).new_session()
    async with client.watch(session, a) as own, client.watch(session, b) as other:
        streams = [await client.at(a).stream_id(session, "scripted:?tokens=200&rate=50")]
        for cuts in range(1, 4):
            await own.tokens_of(streams[0], cuts * 8)
            await cut_connections(postgres_server, "mortal")
            answers = [await client.at(server).send("GET", f"/api/sessions/{session}/") for server in (a, b) * 3]
            assert [answer.status for answer in answers] == [200] * 6
            answer = await client.at(b).prompt(session, SHORT, if_busy="enqueue")
            assert answer.status == 202, answer
            streams.append(answer.data["stream_id"])
        for stream in streams:
            assert (await own.end_of(stream)).data["reason"] == "completed"
            await other.end_of(stream)
        assert set(own.statuses + other.statuses) == {200}
        assert violations([own, other], await client.at(b).session(session)) == []


async def cut_connections(postgres: PostgresServer, database: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgres.url(database), autocommit=True) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_the_database_says_what_became_of_a_commit_whose_answer_was_lost(cluster: Cluster) -> None:
    code = """
from uuid import uuid4
from django.db import transaction
from events.log_transaction import LogTransaction
from events.commit_outcome import has_committed
from events.log_writing import prepare_transaction
for undone in (False, True):
    with transaction.atomic():
        found = prepare_transaction()
        LogTransaction().open_turn(uuid4(), 1)
        transaction.set_rollback(undone)
    print(has_committed(found))
"""
    printed = await cluster.manage("shell", "-v", "0", "-c", code)
    assert [word for word in printed.split() if word in ("True", "False")] == ["True", "False"]


async def test_a_database_that_crashes_and_comes_back_loses_and_repeats_nothing(
    cluster: Cluster, client: Client, postgres_server: PostgresServer
) -> None:
    [a] = await cluster.start("a")
    sessions = [await client.at(a).new_session() for _ in range(5)]
    async with AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(client.watch(session, a)) for session in sessions]
        streams = [await client.at(a).stream_id(session, "scripted:?tokens=300&rate=100") for session in sessions]
        await viewers[0].tokens_of(streams[0], 8)
        await asyncio.to_thread(postgres_server.restart)
        for session, viewer, stream in zip(sessions, viewers, streams, strict=True):
            assert (await viewer.end_of(stream, 30)).data["reason"] == "completed"
            stored = await client.at(a).session(session)
            assert violations([viewer], stored) == []
            assert whole(stored["messages"][1]["text"], 300)
        answer = await client.at(a).stream_id(sessions[0], SHORT)
        await viewers[0].end_of(answer)


def whole(text: str, tokens: int) -> bool:
    """Whether a scripted answer is all there, each token once and in its place."""
    return [piece.partition(":")[0] for piece in text.split("⟨")[1:]] == [str(k) for k in range(tokens)]


async def test_redis_away_delays_viewers_by_three_seconds_and_back_again_by_none(
    cluster: Cluster, client: Client, redis_server: RedisServer
) -> None:
    a, b = await cluster.start("a", "b")
    session = await client.at(a).new_session()
    async with client.watch(session, a) as own, client.watch(session, b) as other:
        stream = await client.at(a).stream_id(session, LONG)
        await other.tokens_of(stream, 5)
        await asyncio.to_thread(redis_server.kill)
        try:
            away = time.monotonic()
            await other.until(lambda viewer: viewer.seen[-1].at > away + 5)
            ready = await client.at(a).send("GET", "/readyz")
            assert (ready.status, ready.data["status"], ready.data["layer"]) == (200, "degraded", "down")
            gaps = [after.at - before.at for before, after in pairwise(other.events)]
            assert max(gaps) < 3
        finally:
            await asyncio.to_thread(redis_server.start)
        await live_again(other)
        assert await client.at(b).stop(session)
        await own.end_of(stream)
        await other.end_of(stream)
        assert violations([own, other], await client.at(b).session(session)) == []


async def test_without_redis_a_process_starts_and_serves_from_the_log(
    cluster: Cluster, client: Client, redis_server: RedisServer
) -> None:
    await asyncio.to_thread(redis_server.kill)
    try:
        a, b = await cluster.start("a", "b")
        session = await client.at(a).new_session()
        async with client.watch(session, b) as viewer:
            asked = time.monotonic()
            stream = await client.at(a).stream_id(session, SHORT)
            assert time.monotonic() - asked < 5
            await viewer.end_of(stream, 6)
            await asyncio.to_thread(redis_server.start)
            await client.at(a).stream_id(session, LONG)
            await live_again(viewer)
            assert violations([viewer]) == []
    finally:
        await asyncio.to_thread(redis_server.restart)


async def live_again(viewer: Viewer) -> None:
    """A second of a stream that comes as it is made, not in lumps of two seconds; within five."""

    def smooth(viewer: Viewer) -> bool:
        recent = [seen.at for seen in viewer.events[-9:]]
        return len(recent) == 9 and all(after - before < 0.5 for before, after in pairwise(recent))

    now = len(viewer.events)
    await viewer.until(lambda viewer: len(viewer.events) > now + 9 and smooth(viewer), 5)
