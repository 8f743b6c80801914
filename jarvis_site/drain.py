"""What the server calls when it has started, and before it stops.

At the end: streams, then viewers, then the bus, then the connections to the model.
"""

import asyncio

from chat import registry
from chat.providers import close_provider
from events import bus
from jarvis_site import loop_watch

_VIEWERS_LEAVE_SECONDS = 0.5


def start() -> None:
    """On the loop that serves: from now on this process vouches for its streams, and ends what dead ones left.

    Where nobody calls it (plain `daphne`), the first viewer or prompt does the same, and the loop is not watched.
    """
    loop_watch.start()
    registry.current().start()


async def drain(grace_seconds: float) -> None:
    """Ends what this process runs, in order; whoever calls it waits no longer than `grace_seconds`."""
    try:
        await registry.close_current(grace_seconds)
        if bus.exists():
            try:
                async with asyncio.timeout(_VIEWERS_LEAVE_SECONDS):
                    await bus.current().hub.release()
            except TimeoutError:
                pass  # who does not read is cut off with the process
            await bus.close_current()
        await close_provider()
    finally:
        loop_watch.stop()
