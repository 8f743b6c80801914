"""Few at a time: what many want to do at the same moment must not take the event loop from everybody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Gate:
    """Belongs to one event loop. Whoever has waited for `longest_seconds` goes in all the same: it only gives way."""

    def __init__(self, width: int, longest_seconds: float) -> None:
        self._inside = asyncio.Semaphore(width)
        self._longest_seconds = longest_seconds

    def widen(self, places: int) -> None:
        """So many more may be inside, for good."""
        for _ in range(places):
            self._inside.release()

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """In the order of coming."""
        has_place = not self._inside.locked() and await self._inside.acquire()
        if not has_place:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._longest_seconds):
                    has_place = await self._inside.acquire()
        try:
            yield
        finally:
            if has_place:
                self._inside.release()
