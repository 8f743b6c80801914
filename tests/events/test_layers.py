"""The in-process layer against the channel layer specification, and where it is better than Channels' own on purpose.

https://channels.readthedocs.io/en/stable/channel_layer_spec.html
"""

import asyncio
from typing import Any

import pytest
from channels.exceptions import ChannelFull

from events.layers import InProcessChannelLayer
from tests.events.layer_reading import message, received, waiting_reader


@pytest.fixture
def layer() -> InProcessChannelLayer:
    return InProcessChannelLayer(capacity=3, group_expiry=600)


# --- channels ---


async def test_a_channel_is_first_in_first_out(layer: InProcessChannelLayer) -> None:
    for number in (1, 2, 3):
        await layer.send("channel", message(number))
    assert await received(layer, "channel") == [message(1), message(2), message(3)]


async def test_a_waiting_reader_gets_what_is_sent_later(layer: InProcessChannelLayer) -> None:
    reader = await waiting_reader(layer, "channel")
    await layer.send("channel", message(1))
    assert await reader == message(1)


async def test_each_message_goes_to_one_of_several_readers(layer: InProcessChannelLayer) -> None:
    readers = [await waiting_reader(layer, "channel") for _ in range(3)]
    for number in (1, 2, 3):
        await layer.send("channel", message(number))
        await asyncio.sleep(0)
    assert [await reader for reader in readers] == [message(1), message(2), message(3)]


async def test_a_cancelled_reader_takes_no_message(layer: InProcessChannelLayer) -> None:
    reader = await waiting_reader(layer, "channel")
    await layer.send("channel", message(1))
    reader.cancel()
    await asyncio.wait([reader])
    assert await received(layer, "channel") == [message(1)]


async def test_channels_do_not_mix(layer: InProcessChannelLayer) -> None:
    await layer.send("one", message(1))
    await layer.send("two", message(2))
    assert await received(layer, "two") == [message(2)]
    assert await received(layer, "one") == [message(1)]


async def test_new_channels_are_process_specific_and_unlike_each_other(layer: InProcessChannelLayer) -> None:
    names = {await layer.new_channel() for _ in range(50)}
    assert len(names) == 50
    for name in names:
        assert name.count("!") == 1
        await layer.send(name, message(1))
        assert await layer.receive(name) == message(1)


async def test_a_message_of_a_megabyte_passes(layer: InProcessChannelLayer) -> None:
    large = {"type": "session.event", "data": "x" * (1 << 20)}
    await layer.send("channel", large)
    assert await layer.receive("channel") == large


async def test_messages_are_shared_not_copied(layer: InProcessChannelLayer) -> None:
    sent = message(1)
    await layer.send("channel", sent)
    assert await layer.receive("channel") is sent


async def test_what_waits_is_received_at_once_in_order(layer: InProcessChannelLayer) -> None:
    reader = asyncio.ensure_future(layer.receive_many("channel"))
    await asyncio.sleep(0)
    for number in (1, 2, 3):
        await layer.send("channel", message(number))
    assert await reader == [message(1), message(2), message(3)]
    assert not layer.channels


@pytest.mark.parametrize("name", ["", "a b", "ä", "a/b", "a!b!c", "x" * 100, "a\n!", None, 1])
async def test_names_that_other_layers_refuse_are_refused(layer: InProcessChannelLayer, name: Any) -> None:
    for call in (
        layer.send(name, message(1)),
        layer.receive(name),
        layer.group_add("group", name),
        layer.group_discard("group", name),
        layer.group_add(name, "channel"),
        layer.group_discard(name, "channel"),
        layer.group_send(name, message(1)),
    ):
        with pytest.raises(TypeError, match="name must be"):
            await call
    assert not layer.channels
    assert not layer.groups


async def test_a_message_is_a_dict(layer: InProcessChannelLayer) -> None:
    not_a_dict: Any = "text"
    await layer.group_add("group", "channel")
    for call in (layer.send("channel", not_a_dict), layer.group_send("group", not_a_dict)):
        with pytest.raises(AssertionError, match="not a dict"):
            await call


def test_the_extensions_are_groups_and_flush(layer: InProcessChannelLayer) -> None:
    assert layer.extensions == ["groups", "flush"]
    assert layer.group_expiry == 600


# --- capacity ---


async def test_a_full_channel_refuses_and_keeps_what_it_has(layer: InProcessChannelLayer) -> None:
    for number in (1, 2, 3):
        await layer.send("channel", message(number))
    with pytest.raises(ChannelFull):
        await layer.send("channel", message(4))
    await layer.send("other", message(5))
    assert (layer.overflows("channel"), layer.overflows("other"), layer.dropped) == (1, 0, 1)
    assert await received(layer, "channel") == [message(1), message(2), message(3)]
    await layer.send("channel", message(6))


async def test_a_group_drops_the_newest_for_the_full_member_alone(layer: InProcessChannelLayer) -> None:
    await layer.group_add("group", "slow")
    await layer.group_add("group", "quick")
    for number in (1, 2, 3):
        await layer.group_send("group", message(number))
    await received(layer, "quick")
    await layer.group_send("group", message(4))
    assert await received(layer, "quick") == [message(4)]
    assert await received(layer, "slow") == [message(1), message(2), message(3)]
    assert (layer.overflows("slow"), layer.overflows("quick"), layer.dropped) == (1, 0, 1)


async def test_overflows_are_remembered_as_long_as_the_channel_is_in_use(layer: InProcessChannelLayer) -> None:
    await layer.group_add("group", "channel")
    for number in range(5):
        await layer.group_send("group", message(number))
    await received(layer, "channel")
    assert layer.overflows("channel") == 2
    await layer.group_discard("group", "channel")
    assert layer.overflows("channel") == 0
    assert layer.dropped == 2


async def test_capacity_can_be_set_by_channel_name() -> None:
    layer = InProcessChannelLayer(capacity=1, channel_capacity={"wide*": 2})
    await layer.send("wide.one", message(1))
    await layer.send("wide.one", message(2))
    await layer.send("narrow", message(1))
    for channel in ("wide.one", "narrow"):
        with pytest.raises(ChannelFull):
            await layer.send(channel, message(3))


# --- groups ---


async def test_a_group_reaches_its_members_and_nobody_else(layer: InProcessChannelLayer) -> None:
    for channel in ("one", "two"):
        await layer.group_add("group", channel)
    await layer.group_add("other", "three")
    await layer.group_send("group", message(1))
    assert [await received(layer, channel) for channel in ("one", "two", "three")] == [[message(1)], [message(1)], []]


async def test_a_member_added_twice_gets_a_message_once(layer: InProcessChannelLayer) -> None:
    await layer.group_add("group", "channel")
    await layer.group_add("group", "channel")
    await layer.group_send("group", message(1))
    assert await received(layer, "channel") == [message(1)]
    await layer.group_discard("group", "channel")
    await layer.group_send("group", message(2))
    assert await received(layer, "channel") == []
    assert not layer.channels


async def test_who_is_no_member_can_be_discarded(layer: InProcessChannelLayer) -> None:
    await layer.group_discard("group", "channel")
    await layer.group_add("group", "member")
    await layer.group_discard("group", "channel")
    await layer.group_send("group", message(1))
    assert await received(layer, "member") == [message(1)]


async def test_a_group_without_members_takes_messages(layer: InProcessChannelLayer) -> None:
    await layer.group_send("group", message(1))
    assert not layer.channels


async def test_many_sends_arrive_in_their_order(layer: InProcessChannelLayer) -> None:
    for group in ("one", "two"):
        await layer.group_add(group, "channel")
    await layer.group_send_many(
        [("one", message(1)), ("two", message(2)), ("nobody", message(0)), ("one", message(3)), ("two", message(4))]
    )
    assert await received(layer, "channel") == [message(1), message(2), message(3)]
    assert layer.overflows("channel") == 1


async def test_whether_there_are_others_can_be_asked(layer: InProcessChannelLayer) -> None:
    assert not layer.has_others("mine")
    await layer.group_add("group", "mine")
    assert not layer.has_others("mine")
    assert layer.has_others("another")
    await layer.group_add("group", "another")
    assert layer.has_others("mine")
    await layer.group_discard("group", "another")
    assert not layer.has_others("mine")
