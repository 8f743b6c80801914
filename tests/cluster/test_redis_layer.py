"""The hub on real Redis layers: ours, the one it comes from, and the other one that channels_redis has."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
from channels.layers import channel_layers
from pytest_django import Settings
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from events import redis_layer
from events.core.event import Event
from events.groups import Signal
from events.hub import Hub
from events.listeners import Delivered
from events.redis_layer import RedisChannelLayer
from tests.cluster.client import Client
from tests.cluster.cluster import Cluster
from tests.faults.checker import violations
from tests.services import RedisServer

OURS = "events.redis_layer.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
CORE = "channels_redis.core.RedisChannelLayer"


class NoLog:
    """A log that never has more than its viewers."""

    async def heads(self, session_ids: Collection[UUID]) -> dict[UUID, int]:
        return {}


class Ear:
    """Hears everything of one session."""

    cursor_seq = None

    def __init__(self) -> None:
        self.session_id = uuid4()
        self.heard: list[Event | Signal] = []
        self.losses = 0
        self._news = asyncio.Event()

    def was_told(self) -> bool:
        return True

    def on_events(self, delivered: Sequence[Delivered]) -> None:
        self.heard += [event for event, _ in delivered]
        self._news.set()

    def on_signal(self, signal: Signal) -> None:
        self.heard.append(signal)
        self._news.set()

    def on_loss(self) -> None:
        self.losses += 1

    async def until(self, count: int, timeout_seconds: float = 10.0) -> None:
        async with asyncio.timeout(timeout_seconds):
            while len(self.heard) < count:
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def layer(redis_server: RedisServer) -> AsyncIterator[RedisChannelLayer]:
    layer = RedisChannelLayer(
        hosts=[{"address": redis_server.url, "socket_timeout": 3, "driver_info": None}], capacity=5
    )
    yield layer
    await layer.flush()


@pytest.fixture(params=[OURS, PUBSUB, CORE])
async def hub(request: pytest.FixtureRequest, redis_server: RedisServer, settings: Settings) -> AsyncIterator[Hub]:
    hosts: list[dict[str, Any]] = [{"address": redis_server.url, "socket_timeout": 15, "driver_info": None}]
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": request.param, "CONFIG": {"hosts": hosts, "capacity": 1000}}}
    channel_layers.backends.clear()
    hub = Hub()
    hub.start(NoLog())  # type: ignore[arg-type]
    yield hub
    await hub.aclose()
    with suppress(TimeoutError):  # a receiver of the core layer that would not end holds its lock
        async with asyncio.timeout(1):
            await hub.layer.flush()
    channel_layers.backends.clear()


async def test_the_hub_hears_events_and_signals_in_their_order(hub: Hub) -> None:
    ear = Ear()
    await hub.join(ear)
    events = [Event(seq, "chat.token", "{}", uuid4().hex) for seq in range(1, 200)]
    hub.announce([(ear.session_id, event) for event in events])
    hub.signal(ear.session_id, Signal("stop", "now"))
    await ear.until(200)
    assert ear.heard == [*events, Signal("stop", "now")]


async def test_the_hub_hears_again_after_redis_was_away_and_came_back_empty(
    hub: Hub, redis_server: RedisServer
) -> None:
    ear = Ear()
    await hub.join(ear)
    await asyncio.to_thread(redis_server.restart)

    async def announce() -> None:
        for seq in range(1, 1000):
            hub.announce([(ear.session_id, Event(seq, "x", "{}"))])
            await asyncio.sleep(0.05)

    announcing = asyncio.create_task(announce())
    await ear.until(3)
    announcing.cancel()


async def test_a_task_of_the_layer_that_has_ended_begins_anew_while_nobody_joins(
    redis_server: RedisServer, settings: Settings
) -> None:
    hosts: list[dict[str, Any]] = [{"address": redis_server.url, "socket_timeout": 3, "driver_info": None}]
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": OURS, "CONFIG": {"hosts": hosts, "capacity": 1000}}}
    channel_layers.backends.clear()
    hub = Hub()
    hub.start(NoLog())  # type: ignore[arg-type]
    ear = Ear()
    await hub.join(ear)
    for shard in hub.layer._get_layer()._shards:
        shard._receive_task.cancel()
        await asyncio.wait([shard._receive_task])
    hub.announce([(ear.session_id, Event(1, "x", "{}"))])
    await ear.until(1, timeout_seconds=5)
    await hub.aclose()
    await hub.layer.flush()
    channel_layers.backends.clear()


async def test_a_session_that_nobody_listens_to_leaves_no_membership(hub: Hub) -> None:
    ears = [Ear() for _ in range(20)]
    await asyncio.gather(*(hub.join(ear) for ear in ears))
    for ear in ears:
        hub.leave(ear)
    last = Ear()
    await hub.join(last)
    await hub.membership.settle_all()
    hub.announce([(ears[0].session_id, Event(1, "x", "{}")), (last.session_id, Event(1, "x", "{}"))])
    await last.until(1)
    assert ears[0].heard == []
    assert set(hub.membership._asked) == {last.session_id}


@pytest.fixture
def on_core(redis_server: RedisServer) -> Iterator[Cluster]:
    with Cluster(redis_url=redis_server.url, REDIS_LAYER="core") as cluster:
        cluster.serve("a", "b", "c")
        yield cluster


async def test_servers_work_on_the_core_layer_too(on_core: Cluster, redis_server: RedisServer) -> None:
    a, b, c = (on_core[name] for name in "abc")
    async with Client(on_core.key) as client, Redis.from_url(redis_server.url, driver_info=None) as redis:
        session = await client.at(a).new_session()
        async with client.watch(session, a) as own, client.watch(session, b) as other:
            stream = await client.at(a).stream_id(session, "scripted:?tokens=100000&rate=50")
            await other.tokens_of(stream, 20)
            assert await redis.keys("jarvis:group:*")
            assert await client.at(c).stop(session)
            assert (await own.end_of(stream, 1.5)).data["reason"] == "stopped"
            await other.end_of(stream)
            late = [there.at - here.at for here, there in zip(own.events, other.events, strict=True)]
            assert max(late) < 1.0  # by the layer: the check of the log would take two seconds
            assert violations([own, other], await client.at(c).session(session)) == []
    for name in "abc":
        assert await on_core.log_lines(name, "layer_error") == []


@pytest.mark.parametrize("messages_per_command", [500, 3])
async def test_many_messages_reach_their_groups_in_order(
    layer: RedisChannelLayer, monkeypatch: pytest.MonkeyPatch, messages_per_command: int
) -> None:
    monkeypatch.setattr(redis_layer, "_MESSAGES_PER_COMMAND", messages_per_command)
    channel, other = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("one", channel)
    await layer.group_add("two", other)
    await layer.group_send_many([("one", {"n": 1}), ("two", {"n": 2}), ("one", {"n": 3}), ("nobody", {"n": 4})])
    assert [await layer.receive(channel), await layer.receive(channel)] == [{"n": 1}, {"n": 3}]
    assert await layer.receive(other) == {"n": 2}


async def test_what_waits_is_received_at_once_in_order(layer: RedisChannelLayer) -> None:
    channel, other = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("one", channel)
    await layer.group_add("two", other)
    await layer.group_send_many([*(("one", {"n": n}) for n in range(5)), ("two", {"n": 5})])
    assert await layer.receive(other) == {"n": 5}  # so all that was sent before has arrived
    assert await layer.receive_many(channel) == [{"n": n} for n in range(5)]
    await layer.group_send("one", {"n": 6})
    assert await layer.receive_many(channel) == [{"n": 6}]


async def test_a_channel_that_nobody_reads_is_bounded_and_its_losses_counted(layer: RedisChannelLayer) -> None:
    channel, other = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("one", channel)
    await layer.group_add("two", other)
    await layer.group_send_many([*(("one", {"n": n}) for n in range(8)), ("two", {"n": 8})])
    assert await layer.receive(other) == {"n": 8}  # so all that was sent before has arrived
    assert layer.overflows(channel) == 3
    assert [(await layer.receive(channel))["n"] for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_a_channel_that_could_not_be_opened_leaves_nothing(redis_server: RedisServer) -> None:
    layer = RedisChannelLayer(hosts=[{"address": "redis://127.0.0.1:1/0", "driver_info": None}])
    with pytest.raises(RedisConnectionError):
        await layer.new_channel()
    assert layer.channels == {}
