"""This process's one channel in the channel layer, and its groups: made to agree with those it wants to be in.

The layer may be away, hang, or forget what it was told. So every call to it has a time limit, what failed is tried
again every second, and the groups are joined anew every 60 s and after any error.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any
from uuid import UUID, uuid4
from weakref import WeakValueDictionary

import structlog

from events import metrics
from events.groups import LayerMessage, group_name

logger = structlog.get_logger(__name__)

REJOIN_SECONDS = 60.0
RETRY_SECONDS = 1.0
LAYER_TIMEOUT_SECONDS = 2.0


class Membership:
    """Belongs to one event loop. `wanted` is live: whoever changes it calls `settle` after."""

    def __init__(self, layer: Any, wanted: Collection[UUID]) -> None:
        self.layer = layer
        self.channel = ""
        self.sender = uuid4().hex  # in messages: this process
        self._others: Callable[[str], bool] | None = getattr(layer, "has_others", None)
        self._is_here: bool = getattr(layer, "is_here", False)  # in this process: it neither waits nor fails
        self.away = False  # the last call failed: what can wait, waits for `keep`
        self._wanted = wanted
        self._asked: set[UUID] = set()  # the layer may have us in their groups
        self._joined: set[UUID] = set()  # it has, as far as is known
        self._settling: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()  # each as long as it is used
        self._opened = asyncio.Event()

    @property
    def is_alone(self) -> bool:
        """Whether nobody else can be in any group: then there is nobody to send to."""
        return self._others is not None and not self._others(self.channel)

    async def call(self, call: Awaitable[Any]) -> bool:
        """Whether the layer did it, in time. Its errors are many (each client library's own) and all mean: away."""
        try:
            async with asyncio.timeout(LAYER_TIMEOUT_SECONDS):
                await call
        except Exception as error:
            self.failed(error)
            return False
        self.away = False
        return True

    def failed(self, error: Exception) -> None:
        """The layer has made an error; whatever it knew of us it may have forgotten."""
        logger.warning("layer_error", err=repr(error))
        metrics.layer_errors.add()
        self.away = True
        self._joined.clear()

    async def open_channel(self) -> None:
        """Raises what the layer raises."""
        async with asyncio.timeout(LAYER_TIMEOUT_SECONDS):
            self.channel = await self.layer.new_channel("hub.")
        self.away = False
        self._opened.set()

    async def send(self, messages: Sequence[tuple[str, LayerMessage]]) -> None:
        """To these groups, in order. A layer that is away does not raise: what it does not bring is in the log."""
        if hasattr(self.layer, "group_send_many"):
            await self.call(self.layer.group_send_many(messages))
            return
        for group, message in messages:
            if not await self.call(self.layer.group_send(group, message)):
                return

    async def receive(self) -> list[dict[str, Any]]:
        """What has come, as soon as there is any. Raises what the layer raises."""
        if hasattr(self.layer, "receive_many"):
            messages: list[dict[str, Any]] = await self.layer.receive_many(self.channel)
            return messages
        return [await self.layer.receive(self.channel)]

    def settle_at_once(self, session_id: UUID) -> bool:
        """`settle` with a layer that is in this process; False, and nothing is done, with any other."""
        if not self._is_here or not self.channel:
            return False
        if session_id not in self._wanted:
            self.layer.leave(group_name(session_id), self.channel)
            self._asked.discard(session_id)
            self._joined.discard(session_id)
        elif session_id not in self._joined:
            self.layer.join(group_name(session_id), self.channel)
            self._asked.add(session_id)
            self._joined.add(session_id)
        return True

    async def settle(self, session_id: UUID) -> None:
        """Makes the membership what is wanted, in order, however quickly wishes change; if it fails, `keep` does it."""
        if self.settle_at_once(session_id):
            return
        wanted = session_id in self._wanted
        settled = session_id in self._joined if wanted else session_id not in self._asked
        if not settled and not self.away:
            await self._settle(session_id)

    async def settle_all(self) -> None:
        """Ends with the first failure."""
        for session_id in (set(self._wanted) - self._joined) | (self._asked - set(self._wanted)):
            await self._settle(session_id)
            if self.away:
                return
        self.away = False

    async def _settle(self, session_id: UUID) -> None:
        if not self.channel and not await self.call(self._opened.wait()):
            return
        lock = self._settling.get(session_id)
        if lock is None:
            lock = self._settling[session_id] = asyncio.Lock()
        async with lock:
            if session_id in self._wanted:
                if session_id not in self._joined:
                    self._asked.add(session_id)
                    if await self.call(self.layer.group_add(group_name(session_id), self.channel)):
                        self._joined.add(session_id)
            elif session_id in self._asked:
                self._joined.discard(session_id)
                if await self.call(self.layer.group_discard(group_name(session_id), self.channel)):
                    self._asked.discard(session_id)

    async def keep(self) -> None:
        """Settles what has not succeeded, and everything anew from time to time. Runs until cancelled."""
        loop = asyncio.get_running_loop()
        rejoin_at = loop.time() + REJOIN_SECONDS
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                if hasattr(self.layer, "keep_receiving") and self.layer.keep_receiving():
                    self.failed(ConnectionError("the layer had ceased to receive"))
                if loop.time() >= rejoin_at:
                    rejoin_at = loop.time() + REJOIN_SECONDS
                    self._joined.clear()
                if self.channel:
                    await self.settle_all()
            except Exception:  # a group that is not joined again would be silent for ever
                logger.exception("membership_failed")
