"""Threads for what blocks, the database above all. What a hop to them and back costs is a part of each commit.

`concurrent.futures` makes a future of its own for each call, with a lock and a condition, and chains asyncio's to it:
measured, 26 µs of CPU where this takes 11.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class _Call(NamedTuple):
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    future: asyncio.Future[Any]


class Threads:
    """So many, started with the first call, for any event loop. None of them holds up the end of the process.

    `on_end` is called on each when it is closed.
    """

    def __init__(self, count: int, name: str, on_end: Callable[[], None] = lambda: None) -> None:
        self._count, self._name, self._on_end = count, name, on_end
        self._calls: SimpleQueue[_Call | asyncio.Future[None]] = SimpleQueue()
        self._started = False

    def run(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """What the function returns or raises. If the future is cancelled, what has not begun never begins."""
        if not self._started:
            self._started = True
            for number in range(self._count):
                threading.Thread(target=self._work, name=f"{self._name}_{number}", daemon=True).start()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.put(_Call(function, arguments, future))
        return future

    async def aclose(self, seconds: float) -> int:
        """Ends them when they have done what they were given; how many are stuck, and left behind. Once only."""
        if not self._started:
            return 0
        ends = [asyncio.get_running_loop().create_future() for _ in range(self._count)]
        for end in ends:
            self._calls.put(end)
        _, stuck = await asyncio.wait(ends, timeout=seconds)
        return len(stuck)

    def _work(self) -> None:
        while isinstance(call := self._calls.get(), _Call):
            if not call.future.cancelled():
                _carry_out(call)
            del call  # while it waits for the next one it keeps nothing of this
        self._on_end()
        _tell(call, None, None)


def _carry_out(call: _Call) -> None:
    result: Any = None
    error: BaseException | None = None
    try:
        result = call.function(*call.arguments)
    except StopIteration as raised:  # no future takes it
        error = RuntimeError(repr(raised))
    except BaseException as raised:
        error = raised
    try:
        _tell(call.future, result, error)
    finally:
        del error  # its traceback has this frame


def _tell(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    with suppress(RuntimeError):  # its loop has been closed
        future.get_loop().call_soon_threadsafe(_settle, future, result, error)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():  # cancelled
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
