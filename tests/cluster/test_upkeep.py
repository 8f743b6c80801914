"""What the database holds is bounded, and nobody who watches is told less for it."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.cluster.client import Client
from tests.cluster.cluster import Cluster
from tests.faults.checker import violations
from tests.live.server import Server

SHORT = "scripted:?tokens=30&rate=300"
LONG = "scripted:?tokens=3000&rate=100"
NOW = {"EVENTS_RETENTION_SECONDS": "0.001"}


@pytest.fixture(params=["standing", "on_sqlite"])
def either(request: pytest.FixtureRequest) -> Cluster:
    """The same on both databases."""
    cluster: Cluster = request.getfixturevalue(request.param)
    return cluster


@pytest.fixture(params=["on PostgreSQL", "on SQLite"])
def own(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The same on both databases, for processes of one's own."""
    if request.param == "on PostgreSQL":
        yield request.getfixturevalue("cluster")
    else:
        with Cluster() as cluster:
            yield cluster


@pytest.fixture
async def client(either: Cluster) -> Client:
    return Client(either.key)


async def count(cluster: Cluster, model: str, session: str) -> int:
    code = f"from chat.models import *; from events.models import *; print({model}.filter({session}).count())"
    return int((await cluster.manage("shell", "-v", "0", "-c", code)).split()[-1])


async def test_old_events_go_and_a_viewer_who_wants_them_gets_a_snapshot(either: Cluster, client: Client) -> None:
    async with client:
        a = either["a"]
        session = await client.at(a).new_session()
        async with client.watch(session, a) as before:
            stream = await client.at(a).stream_id(session, SHORT)
            await before.end_of(stream)
            assert not (await either.manage("prune_events", **NOW)).startswith("0 events")
        assert await count(either, "StoredEvent.objects", f"session_id='{session}'") == 0
        async with client.watch(session, a, after=2) as after:
            await after.until(lambda viewer: viewer.seen)
            assert (after.seen[0].type, after.seen[0].data["reset"]) == ("snapshot", True)
            assert after.seen[0].data["messages"][1]["text"] == before.text(stream) != ""
            another = await client.at(a).stream_id(session, SHORT)
            await after.end_of(another)
            assert violations([before, after], await client.at(a).session(session), resets_allowed=True) == []


async def test_what_an_unfinished_stream_sent_stays_however_old_it_is(either: Cluster, client: Client) -> None:
    async with client:
        a = either["a"]
        session = await client.at(a).new_session()
        async with client.watch(session, a) as viewer:
            ended = await client.at(a).stream_id(session, SHORT)
            last = (await viewer.end_of(ended)).seq
            running = await client.at(a).stream_id(session, LONG)
            await viewer.tokens_of(running, 3)
            await either.manage("prune_events", **NOW, EVENTS_LOG_MAX_EVENTS="1")
            assert await count(either, "StoredEvent.objects", f"session_id='{session}', seq__lte={last}") == 0
            async with client.watch(session, a, after=last) as later:
                await later.until(lambda viewer: viewer.seen)
                assert later.seen[0].seq == (last or 0) + 1
                await client.at(a).stop(session)
                await later.end_of(running)
                await viewer.end_of(running)
                assert violations([viewer, later], await client.at(a).session(session)) == []


async def test_a_session_keeps_no_more_events_than_its_bound(either: Cluster, client: Client) -> None:
    async with client:
        a = either["a"]
        session = await client.at(a).new_session()
        async with client.watch(session, a) as viewer:
            stream = await client.at(a).stream_id(session, SHORT)
            end = await viewer.end_of(stream)
        assert (end.seq or 0) > 5
        await either.manage("prune_events", EVENTS_LOG_MAX_EVENTS="5")
        assert await count(either, "StoredEvent.objects", f"session_id='{session}'") == 5
        async with client.watch(session, a, after=(end.seq or 0) - 5) as later:
            await later.end_of(stream)
            assert later.seen[0].type != "snapshot"


async def test_nothing_is_left_of_a_deleted_session(either: Cluster, client: Client) -> None:
    async with client:
        a = either["a"]
        session = await client.at(a).new_session()
        async with client.watch(session, a) as viewer:
            stream = await client.at(a).stream_id(session, SHORT, key="kept")
            await viewer.end_of(stream)
        assert (await client.at(a).send("DELETE", f"/api/sessions/{session}/")).status == 204
        assert await count(either, "ChatSession.objects", f"id='{session}'") == 1
        assert "0 deleted sessions" not in await either.manage("prune_events", **NOW)
        for model in ("Message", "Stream", "IdempotencyKey", "StoredEvent", "EventHead"):
            assert await count(either, f"{model}.objects", f"session_id='{session}'") == 0
        assert await count(either, "ChatSession.objects", f"id='{session}'") == 0


async def test_an_idempotency_key_is_forgotten_after_a_day(either: Cluster, client: Client) -> None:
    async with client:
        a = either["a"]
        session = await client.at(a).new_session()
        first = await client.at(a).stream_id(session, SHORT, key="day")
        await either.manage("prune_events")
        assert await client.at(a).stream_id(session, SHORT, key="day") == first
        await either.manage(
            "shell",
            "-c",
            "from chat.models import IdempotencyKey as K; from django.utils.timezone import now, timedelta;"
            "K.objects.filter(key='day').update(created_at=now()-timedelta(hours=25))",
        )
        await either.manage("prune_events")
        assert await client.at(a).stream_id(session, SHORT, key="day") != first


async def test_a_server_does_it_by_itself(own: Cluster) -> None:
    a, b = await own.start("a", "b", CHAT_UPKEEP_SECONDS="0.3", EVENTS_RETENTION_SECONDS="3")  # b may be 2 s late
    async with Client(own.key) as client:
        session = await client.at(a).new_session()
        async with client.watch(session, b) as viewer:
            stream = await client.at(a).stream_id(session, "scripted:?tokens=200&rate=50")  # longer than the retention
            assert (await viewer.end_of(stream)).data["reason"] == "completed"
            assert violations([viewer], await client.at(a).session(session)) == []
        async with asyncio.timeout(20):
            while not await forgotten(client, a, session):
                pass


async def forgotten(client: Client, server: Server, session: str) -> bool:
    """Whether the session's first event is no longer stored."""
    async with client.watch(session, server) as viewer:
        await viewer.until(lambda viewer: viewer.seen)
        return viewer.seen[0].type == "snapshot"
