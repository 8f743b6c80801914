"""Waiting for tasks whose end is wanted, and nothing else of them."""

import asyncio
from typing import Any


def one_ended(*tasks: asyncio.Task[Any]) -> asyncio.Future[None]:
    """Done as soon as one of these is, however it ended. Who waits for it may be cancelled: the tasks go on.

    `asyncio.wait` does that too, and holds a kilobyte while it waits: too much where each stream and viewer waits (#4).
    """
    ended = asyncio.get_running_loop().create_future()

    def end(_: asyncio.Task[Any]) -> None:
        if not ended.done():
            ended.set_result(None)

    for task in tasks:
        task.add_done_callback(end)
    return ended
