"""How long the in-process layer keeps what, what it gives back, and what a call costs."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from events.layers import CLEANING_SECONDS, InProcessChannelLayer
from tests.events.layer_reading import Clock, message, received, waiting_reader


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def layer(clock: Clock) -> InProcessChannelLayer:
    return InProcessChannelLayer(clock=clock, capacity=3, expiry=60, group_expiry=600)


# --- expiry ---


async def test_a_message_expires_unread_and_its_channel_stays_in_its_groups(
    layer: InProcessChannelLayer, clock: Clock
) -> None:
    await layer.group_add("group", "channel")
    await layer.group_send("group", message(1))
    clock.seconds += 30
    await layer.group_send("group", message(2))
    clock.seconds += 30
    assert await received(layer, "channel") == [message(2)]
    assert (layer.overflows("channel"), layer.dropped) == (1, 1)
    await layer.group_send("group", message(3))
    assert await received(layer, "channel") == [message(3)]


async def test_who_receives_many_is_not_given_what_has_expired(layer: InProcessChannelLayer, clock: Clock) -> None:
    await layer.group_add("group", "channel")
    await layer.group_send("group", message(1))
    clock.seconds += 30
    await layer.group_send("group", message(2))
    clock.seconds += 30
    await layer.group_send("group", message(3))
    assert await layer.receive_many("channel") == [message(2), message(3)]
    assert (layer.overflows("channel"), layer.dropped) == (1, 1)


async def test_expired_messages_make_room_for_new_ones(clock: Clock) -> None:
    layer = InProcessChannelLayer(clock=clock, capacity=2, expiry=10)
    await layer.send("channel", message(1))
    clock.seconds += 5
    await layer.send("channel", message(2))
    clock.seconds += 5
    await layer.send("channel", message(3))
    assert (layer.overflows("channel"), layer.dropped) == (1, 1)
    assert await received(layer, "channel") == [message(2), message(3)]


async def test_a_membership_ends_some_time_after_the_last_group_add(layer: InProcessChannelLayer, clock: Clock) -> None:
    await layer.group_add("group", "left")
    await layer.group_add("group", "stays")
    clock.seconds += 599
    await layer.group_add("group", "stays")
    await layer.group_send("group", message(1))
    clock.seconds += 1
    await layer.group_send("group", message(2))
    assert await received(layer, "left") == [message(1)]
    assert await received(layer, "stays") == [message(1), message(2)]


# --- flush, and what is left over ---


async def test_flush_forgets_messages_and_groups(layer: InProcessChannelLayer) -> None:
    await layer.send("one", message(1))
    await layer.group_add("group", "two")
    await layer.group_send("group", message(2))
    await layer.flush()
    assert (layer.channels, layer.groups) == ({}, {})
    await layer.group_send("group", message(3))
    assert await received(layer, "one") == await received(layer, "two") == []


async def test_flush_does_not_deafen_who_waits(layer: InProcessChannelLayer) -> None:
    reader = await waiting_reader(layer, "channel")
    await layer.flush()
    await layer.send("channel", message(1))
    assert await reader == message(1)


async def test_nothing_is_left_of_channels_that_were_read_and_groups_that_were_left(
    layer: InProcessChannelLayer,
) -> None:
    await layer.group_add("group", "channel")
    await layer.group_send("group", message(1))
    await received(layer, "channel")
    await layer.send("once", message(1))
    await received(layer, "once")
    await layer.group_discard("group", "channel")
    assert (layer.channels, layer.groups) == ({}, {})


async def test_what_nobody_reads_or_leaves_is_given_back_in_the_end(layer: InProcessChannelLayer, clock: Clock) -> None:
    await layer.send("unread", message(1))
    await layer.group_add("group", "ghost")
    await layer.group_send("group", message(2))
    clock.seconds += 600
    await layer.group_send("elsewhere", message(3))
    assert (layer.channels, layer.groups) == ({}, {})


# --- what it costs ---


class Unwalked(dict[str, Any]):
    """May be looked into, but not walked."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("All of them were walked.")

    values = items = keys = __iter__  # type: ignore[assignment]


async def test_no_call_walks_all_channels_or_groups(layer: InProcessChannelLayer, clock: Clock) -> None:
    layer.groups, layer.channels = Unwalked(), Unwalked()
    clock.seconds += CLEANING_SECONDS - 1
    await layer.group_add("group", "channel")
    await layer.group_send("group", message(1))
    await layer.group_send_many([("group", message(2))])
    assert await layer.receive("channel") == message(1)
    await layer.group_discard("group", "channel")
    await layer.send("channel", message(3))
    clock.seconds += 1
    with pytest.raises(AssertionError, match="walked"):
        await layer.send("channel", message(4))
    await layer.send("channel", message(5))


async def test_sending_to_a_group_neither_waits_nor_creates_tasks(layer: InProcessChannelLayer) -> None:
    for number in range(50):
        await layer.group_add("group", f"channel.{number}")
    before = asyncio.all_tasks()
    with pytest.raises(StopIteration):
        layer.group_send("group", message(1)).send(None)  # a coroutine that ends at its first step has not waited
    assert asyncio.all_tasks() == before
