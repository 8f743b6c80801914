"""The channel layer of a single process: Channels' own without its scans, copies and tasks."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer

CLEANING_SECONDS = 60.0  # when memory is given back; what has expired is not delivered in any case


class _Channel(asyncio.Queue[tuple[float, dict[str, Any]]]):
    """Messages, each with the time it expires. Kept while it holds one or is in use."""

    uses = 0  # memberships of groups, and waiting readers
    overflows = 0
    _queue: deque[tuple[float, dict[str, Any]]]  # asyncio.Queue's own; it has no task_done() to reckon with here

    def put_nowait(self, item: tuple[float, dict[str, Any]]) -> None:
        """Whoever puts has looked whether there is room."""
        self._queue.append(item)
        if self._getters:  # type: ignore[attr-defined]
            self._wakeup_next(self._getters)  # type: ignore[attr-defined]

    def take_all(self) -> list[tuple[float, dict[str, Any]]]:
        items = list(self._queue)
        self._queue.clear()
        return items

    def drop_expired(self, now: float) -> int:
        before = self.qsize()
        while self._queue and self._queue[0][0] <= now:
            self._queue.popleft()
        self.overflows += (dropped := before - self.qsize())
        return dropped


class InProcessChannelLayer(InMemoryChannelLayer):
    """Follows the channel layer specification (groups, flush), within one event loop.

    What differs from Channels' in-memory layer, on purpose:
    - messages are shared, not copied: treat them as read-only;
    - a full channel drops the newest message, as there, but counts it: `overflows` and `dropped`;
    - an expired message is dropped and counted too, and its channel stays in its groups; a membership ends
      `group_expiry` seconds after its last `group_add`;
    - expiry runs on the monotonic clock; `channel_capacity` works; `flush` does not deafen who waits in `receive`.

    As there, each full channel name has a capacity of its own, and `receive` takes the full name.
    """

    is_here = True  # whoever asks for a membership (`join`, `leave`) has it at once
    channels: dict[str, _Channel]  # type: ignore[assignment]  # dict is invariant

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, **config: Any) -> None:
        super().__init__(**config)
        compiled: Any = self.compile_capacities(self.channel_capacity)
        self.channel_capacity = compiled
        self.dropped = 0  # messages that a channel's reader did not get, ever
        self._clock = clock
        self._next_cleaning = clock() + CLEANING_SECONDS

    def overflows(self, channel: str) -> int:
        """How many messages the channel's reader will never get: it was full, or did not read them in time.

        Only grows while the channel holds messages, is being read or is in a group; forgotten after that.
        """
        queue = self.channels.get(channel)
        return 0 if queue is None else queue.overflows

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Never waits. Raises `ChannelFull`."""
        assert isinstance(message, dict), "message is not a dict"
        self.require_valid_channel_name(channel)
        if not self._put(self._open(channel), message, self._now()):
            raise ChannelFull(channel)

    async def receive(self, channel: str) -> dict[str, Any]:
        """The channel's next message, in order. Each goes to one reader; a cancelled one takes none."""
        self.require_valid_channel_name(channel)
        queue = self._open(channel)
        queue.uses += 1
        try:
            while True:
                expires, message = await queue.get()
                if expires > self._now():
                    return message
                self._count_drop(queue)
        finally:
            self._release(channel, queue)

    async def receive_many(self, channel: str) -> list[dict[str, Any]]:
        """`receive`, and what waits behind that message."""
        messages = [await self.receive(channel)]
        if (queue := self.channels.get(channel)) is not None:
            now = self._now()
            for expires, message in queue.take_all():
                if expires > now:
                    messages.append(message)
                else:
                    self._count_drop(queue)
            self._forget_unused(channel, queue)
        return messages

    async def group_add(self, group: str, channel: str) -> None:
        """Once more begins the membership's time anew."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        self.join(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        self.leave(group, channel)

    def join(self, group: str, channel: str) -> None:
        """`group_add`, for who has valid names and no need of a coroutine: it never waits."""
        now = self._now()
        members = self.groups.setdefault(group, {})
        if channel not in members:
            self._open(channel).uses += 1
        members[channel] = now

    def leave(self, group: str, channel: str) -> None:
        """`group_discard`, in the same manner."""
        members = self.groups.get(group, {})
        if members.pop(channel, None) is not None:
            self._release(channel, self.channels[channel])
            if not members:
                del self.groups[group]

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Never waits, never raises `ChannelFull`."""
        await self.group_send_many([(group, message)])

    async def group_send_many(self, sends: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """`group_send` for each, in order."""
        now = self._now()
        for group, message in sends:
            assert isinstance(message, dict), "message is not a dict"
            members = self.groups.get(group)
            if members is None:
                self.require_valid_group_name(group)
                continue
            for channel, joined in members.items():
                if joined + self.group_expiry > now:
                    self._put(self.channels[channel], message, now)

    def has_others(self, channel: str) -> bool:
        """Whether there is a channel other than this one, which may be in groups."""
        return len(self.channels) > (channel in self.channels)

    async def flush(self) -> None:
        """Forgets all messages and groups."""
        self._clean(message_bound=float("inf"), membership_bound=float("inf"))

    def _now(self) -> float:
        now = self._clock()
        if now >= self._next_cleaning:
            self._next_cleaning = now + CLEANING_SECONDS
            self._clean(now, now - self.group_expiry)
        return now

    def _clean(self, message_bound: float, membership_bound: float) -> None:
        """Drops the messages that expire, and the memberships that began, until these times."""
        for group, members in list(self.groups.items()):
            for channel in [name for name, joined in members.items() if joined <= membership_bound]:
                self.leave(group, channel)
        for channel, queue in list(self.channels.items()):
            self.dropped += queue.drop_expired(message_bound)
            self._forget_unused(channel, queue)

    def _open(self, channel: str) -> _Channel:
        queue = self.channels.get(channel)
        if queue is None:
            queue = self.channels[channel] = _Channel(self.get_capacity(channel))
        return queue

    def _put(self, queue: _Channel, message: dict[str, Any], now: float) -> bool:
        if queue.qsize() >= queue.maxsize:
            self.dropped += queue.drop_expired(now)
            if queue.full():
                self._count_drop(queue)
                return False
        queue.put_nowait((now + self.expiry, message))
        return True

    def _count_drop(self, queue: _Channel) -> None:
        queue.overflows += 1
        self.dropped += 1

    def _release(self, channel: str, queue: _Channel) -> None:
        queue.uses -= 1
        self._forget_unused(channel, queue)

    def _forget_unused(self, channel: str, queue: _Channel) -> None:
        if not queue.uses and queue.empty():
            self.channels.pop(channel, None)
