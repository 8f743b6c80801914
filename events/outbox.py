"""What waits to leave by the channel layer: bounded, in order, all of it that waits in one go."""

import asyncio
import sys
from collections.abc import Sequence

import structlog

from events.conf import conf
from events.groups import LayerMessage
from events.membership import Membership

logger = structlog.get_logger(__name__)

_MESSAGE_BYTES = 500  # of an announcement, beside its data


class Outbox:
    """Belongs to one event loop. `empty` is set while nothing waits or is on its way."""

    def __init__(self, membership: Membership) -> None:
        self.messages: list[tuple[str, LayerMessage]] = []
        self.empty = asyncio.Event()
        self._membership = membership
        self._bytes = 0
        self._filled = asyncio.Event()

    def put(self, messages: Sequence[tuple[str, LayerMessage]]) -> None:
        """Each with its group. Beyond `EVENTS_MAX_ANNOUNCED_BYTES` they are dropped: the log has them."""
        size_bytes = sum(_MESSAGE_BYTES + sys.getsizeof(message["data"]) for _, message in messages)
        if self._bytes + size_bytes > conf.max_announced_bytes:
            logger.warning("announcements_dropped", count=len(messages))
            return
        self._bytes += size_bytes
        self.messages += messages
        self.empty.clear()
        self._filled.set()

    async def send(self) -> None:
        """Until cancelled."""
        while True:
            self.empty.set()
            await self._filled.wait()
            self._filled.clear()
            while self.messages:
                messages, self.messages = self.messages, []
                self._bytes = 0
                try:
                    await self._membership.send(messages)
                except Exception:  # one message must not make the whole process dumb
                    logger.exception("announcements_failed")
