"""What the server calls when it has started, and before it stops.

At the end: streams, then viewers; then, once no request is answered any more, the bus and the connections to the model.
"""

import asyncio
from contextlib import suppress

from chat import registry
from chat.providers import close_provider
from events import bus
from jarvis_site import loop_watch
from jarvis_site.garbage import Garbage
from jarvis_site.patience import CLOSE_SECONDS

_VIEWERS_LEAVE_SECONDS = 0.5
_garbage: Garbage | None = None


def start() -> None:
    """On the loop that serves: from now on this process vouches for its streams, and ends what dead ones left.

    Where nobody calls it (plain `daphne`), the first viewer or prompt does the same, and the loop is not watched.
    """
    global _garbage
    _garbage = Garbage(lambda: len(registry.running_here()) + bus.current().hub.viewers)
    loop_watch.start()
    registry.current().start()


async def drain(grace_seconds: float) -> None:
    """Ends the streams of this process, and lets its viewers go. Who calls it may cancel it, and calls `close` then."""
    await registry.close_current(grace_seconds)
    if bus.exists():
        with suppress(TimeoutError):  # who does not read is cut off with the process
            async with asyncio.timeout(_VIEWERS_LEAVE_SECONDS):
                await bus.current().hub.release()


async def close() -> None:
    """Has a time of its own: the streams of a process whose storage is away take all of the grace, and end unstored."""
    loop_watch.stop()
    if _garbage is not None:
        _garbage.stop()
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await bus.close_current()
    finally:
        await close_provider()
