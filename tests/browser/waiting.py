"""Waiting for what a server has seen; for what a page shows there is `expect`."""

import asyncio
from collections.abc import Callable
from typing import Any


async def until(condition: Callable[[], Any], timeout_seconds: float = 10) -> None:
    """Raises TimeoutError."""
    async with asyncio.timeout(timeout_seconds):
        while not condition():
            await asyncio.sleep(0.01)
