"""What the server has for one application: the request, its end."""

import asyncio
from typing import Any


class Messages:
    """In order, for one reader at a time. An `asyncio.Queue` would hold 3 KB as long as the request lasts."""

    __slots__ = ("_reader", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[dict[str, Any]] = []
        self._reader: asyncio.Future[None] | None = None

    def put_nowait(self, message: dict[str, Any]) -> None:
        self._waiting.append(message)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def get(self) -> dict[str, Any]:
        """The next one, as soon as there is one. A reader that is cancelled takes none."""
        while not self._waiting:
            if self._reader is not None and not self._reader.done():
                raise RuntimeError("Somebody reads these messages already.")
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._waiting.pop(0)
