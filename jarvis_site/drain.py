"""What the server calls when it has started, and before it stops.

At the end: streams, then viewers, then the bus, then the connections to the model.
"""

import asyncio
from contextlib import suppress

from chat import registry
from chat.providers import close_provider
from events import bus
from jarvis_site import loop_watch

_VIEWERS_LEAVE_SECONDS = 0.5
_CLOSE_SECONDS = 4.0  # what the bus waits for a storage that is away, and a little more


def start() -> None:
    """On the loop that serves: from now on this process vouches for its streams, and ends what dead ones left.

    Where nobody calls it (plain `daphne`), the first viewer or prompt does the same, and the loop is not watched.
    """
    loop_watch.start()
    registry.current().start()


async def drain(grace_seconds: float) -> None:
    """Ends what this process runs, in order; who calls it cancels it after `grace_seconds`, and waits a little."""
    try:
        await registry.close_current(grace_seconds)
        if bus.exists():
            with suppress(TimeoutError):  # who does not read is cut off with the process
                async with asyncio.timeout(_VIEWERS_LEAVE_SECONDS):
                    await bus.current().hub.release()
    finally:  # also when the time is up: streams could not be ended, as their storage is away
        loop_watch.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await bus.close_current()
                await close_provider()
