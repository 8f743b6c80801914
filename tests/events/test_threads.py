"""What a few threads are given to do, and what comes back of it."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from events.threads import Threads

ended: list[str] = []


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    ended.clear()
    two = Threads(2, "two", lambda: ended.append(threading.current_thread().name))
    yield two
    assert await two.aclose(5) == 0


def _raise(error: BaseException) -> None:
    raise error


async def test_what_a_function_returns_comes_back_from_one_of_them(threads: Threads) -> None:
    names = {await threads.run(lambda: threading.current_thread().name) for _ in range(20)}
    assert names <= {"two_0", "two_1"}
    assert await threads.run(divmod, 7, 2) == (3, 1)


@pytest.mark.parametrize(
    ("raised", "comes"), [(KeyError("x"), KeyError), (StopIteration(), RuntimeError), (SystemExit(), SystemExit)]
)
async def test_what_it_raises_is_raised_to_who_asked_and_the_thread_goes_on(
    threads: Threads, raised: BaseException, comes: type[BaseException]
) -> None:
    for _ in range(3):
        future = threads.run(_raise, raised)
        await asyncio.wait([future])
        assert isinstance(future.exception(), comes)
    assert await threads.run(len, "abc") == 3


async def test_they_work_beside_each_other(threads: Threads) -> None:
    both = threading.Barrier(2)
    await asyncio.gather(threads.run(both.wait, 5), threads.run(both.wait, 5))


async def test_what_is_cancelled_before_it_began_never_begins(threads: Threads) -> None:
    done: list[str] = []
    goes_on = threading.Event()
    busy = [threads.run(goes_on.wait, 5) for _ in range(2)]
    threads.run(done.append, "cancelled").cancel()
    last = threads.run(done.append, "last")
    goes_on.set()
    await asyncio.gather(*busy, last)
    assert done == ["last"]


async def test_nobody_is_told_of_what_was_cancelled_while_it_ran(threads: Threads) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        goes_on.wait(5)

    running = threads.run(work)
    await threads.run(begun.wait, 5)
    running.cancel()
    goes_on.set()
    assert await threads.run(len, "ab") == 2
    assert running.cancelled()


async def test_each_ends_for_itself_when_it_is_closed() -> None:
    ended.clear()
    two = Threads(2, "closed", lambda: ended.append(threading.current_thread().name))
    assert await two.aclose(1) == 0, "none was started"
    assert ended == []
    await two.run(len, "")
    assert await two.aclose(5) == 0
    assert sorted(ended) == ["closed_0", "closed_1"]


async def test_one_that_is_stuck_is_left_behind() -> None:
    goes_on = threading.Event()
    one = Threads(1, "stuck")
    stuck = one.run(goes_on.wait, 30)
    assert await one.aclose(0.05) == 1
    goes_on.set()
    assert await stuck


def test_the_loop_that_asked_may_be_gone() -> None:
    goes_on, done = threading.Event(), threading.Event()
    one = Threads(1, "one")

    async def leave() -> None:
        one.run(goes_on.wait, 5)
        one.run(done.set)

    asyncio.run(leave())
    goes_on.set()

    async def ask_again() -> int:
        return await one.run(len, "abc")

    assert asyncio.run(ask_again()) == 3
    assert done.is_set()
