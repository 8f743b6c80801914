"""What the server calls before it stops: streams, then viewers, then the bus, then the connections to the model."""

import asyncio

from chat import registry
from chat.providers import close_provider
from events import bus

_VIEWERS_LEAVE_SECONDS = 0.5


async def drain(grace_seconds: float) -> None:
    """Ends what this process runs, in order; whoever calls it waits no longer than `grace_seconds`."""
    await registry.close_current(grace_seconds)
    if bus.exists():
        try:
            async with asyncio.timeout(_VIEWERS_LEAVE_SECONDS):
                await bus.current().hub.release()
        except TimeoutError:
            pass  # who does not read is cut off with the process
        await bus.close_current()
    await close_provider()
