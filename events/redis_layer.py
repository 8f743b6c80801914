"""The channel layer of many processes: channels_redis' pub/sub layer, sending many messages in one round trip.

As shipped, each message is a round trip of its own under a lock (333 messages: 36 ms; in one command 1.4), the
memory of a channel that nobody reads is unbounded, a subscription that failed is never given up, and the one task that
receives ends for good with a `TimeoutError` of the socket. No message is ever promised to arrive: see `hub.py`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any

from channels_redis import pubsub
from channels_redis.utils import _wrap_close

# One command and one answer for many: those of a pipeline are each packed, awaited with a timeout of its own, and
# parsed, a tenth of what a server with Redis does (#4). Redis does nothing else meanwhile: 500 take it some 2 ms.
_MESSAGES_PER_COMMAND = 500
_PUBLISH = "for i = 1, #ARGV, 2 do redis.call('PUBLISH', ARGV[i], ARGV[i + 1]) end"


class _Channel(asyncio.Queue[bytes]):
    """What has arrived and is not read yet. Drops the newest when it is full, and counts that."""

    overflows = 0

    def put_nowait(self, item: bytes) -> None:
        if self.full():
            self.overflows += 1
        else:
            super().put_nowait(item)


class _LoopLayer(pubsub.RedisPubSubLoopLayer):  # type: ignore[misc]  # channels_redis has no types
    """The layer of one event loop."""

    def __init__(self, *, capacity: int, **config: Any) -> None:
        super().__init__(**config)
        self._capacity = capacity

    def overflows(self, channel: str) -> int:
        """How many messages the channel's reader will never get."""
        queue = self.channels.get(channel)
        return 0 if queue is None else int(queue.overflows)

    def keep_receiving(self) -> bool:
        """Makes tasks that have ended begin anew; whether there were any. Cheap."""
        ended = [shard for shard in self._shards if shard._receive_task is not None and shard._receive_task.done()]
        for shard in ended:
            shard._receive_task = None
            shard._ensure_receiver()
        return bool(ended)

    async def group_discard(self, group: str, channel: str) -> None:
        """If it fails, nothing has happened: it can be tried again."""
        try:
            await super().group_discard(group, channel)
        except BaseException:
            self.groups.setdefault(self._get_group_channel_name(group), set()).add(channel)
            raise

    async def group_send_many(self, sends: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """`group_send` for each: one round trip a host; the messages of a group keep their order."""
        by_shard: dict[Any, list[tuple[str, bytes]]] = defaultdict(list)
        for group, message in sends:
            channel = self._get_group_channel_name(group)
            by_shard[self._get_shard(channel)].append((channel, self.channel_layer.serialize(message)))
        await asyncio.gather(*(_publish(shard, messages) for shard, messages in by_shard.items()))

    async def receive_many(self, channel: str) -> list[dict[str, Any]]:
        """`receive`, and what waits behind that message."""
        messages = [await self.receive(channel)]
        queue = self.channels.get(channel)
        while queue is not None and not queue.empty():
            messages.append(self.channel_layer.deserialize(queue.get_nowait()))
        return messages

    async def _subscribe_to_channel(self, channel: str) -> None:
        self.channels[channel] = _Channel(self._capacity)
        try:
            await self._get_shard(channel).subscribe(channel)
        except BaseException:
            del self.channels[channel]
            raise


class RedisChannelLayer(pubsub.RedisPubSubChannelLayer):  # type: ignore[misc]  # channels_redis has no types
    """`capacity`: how many messages may wait in one channel."""

    def __init__(self, *, capacity: int = 10_000, **config: Any) -> None:
        super().__init__(**config, capacity=capacity)

    async def group_send_many(self, sends: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """See `_LoopLayer.group_send_many`."""
        await self._get_layer().group_send_many(sends)

    async def receive_many(self, channel: str) -> list[dict[str, Any]]:
        """See `_LoopLayer.receive_many`."""
        return await self._get_layer().receive_many(channel)

    def keep_receiving(self) -> bool:
        """See `_LoopLayer.keep_receiving`."""
        return self._get_layer().keep_receiving()

    def _get_layer(self) -> _LoopLayer:
        loop = asyncio.get_running_loop()
        layer = self._layers.get(loop)
        if layer is None:
            layer = self._layers[loop] = _LoopLayer(*self._args, **self._kwargs, channel_layer=self)
            _wrap_close(self, loop)
        return layer  # type: ignore[no-any-return]


async def _publish(shard: Any, messages: Sequence[tuple[str, bytes]]) -> None:
    """Without the shard's lock: who subscribes need not wait for what is sent."""
    shard._ensure_redis()
    for start in range(0, len(messages), _MESSAGES_PER_COMMAND):
        part = messages[start : start + _MESSAGES_PER_COMMAND]
        await shard._redis.eval(_PUBLISH, 0, *chain.from_iterable(part))
