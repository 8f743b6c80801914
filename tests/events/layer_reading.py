"""What the tests of the in-process layer share: a clock that is set, and a reader that does not wait."""

import asyncio
from typing import Any

from events.layers import InProcessChannelLayer


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def message(number: int) -> dict[str, Any]:
    return {"type": "session.event", "seq": number}


async def waiting_reader(layer: InProcessChannelLayer, channel: str) -> asyncio.Task[dict[str, Any]]:
    reader = asyncio.ensure_future(layer.receive(channel))
    await asyncio.sleep(0)  # it runs up to its wait
    return reader


async def received(layer: InProcessChannelLayer, channel: str) -> list[dict[str, Any]]:
    """All that can be received without waiting."""
    messages: list[dict[str, Any]] = []
    while True:
        reader = await waiting_reader(layer, channel)
        if not reader.done():
            reader.cancel()
            await asyncio.wait([reader])
            return messages
        messages.append(reader.result())
