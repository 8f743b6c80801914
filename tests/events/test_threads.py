"""What a few threads are given to do, and what comes back of it."""

import asyncio
import gc
import threading
import weakref
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
    assert await threads.run(lambda: threading.current_thread().name) == "two_0"
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
    both = threading.Barrier(2)
    await asyncio.gather(two.run(both.wait, 5), two.run(both.wait, 5))
    assert await two.aclose(5) == 0
    assert sorted(ended) == ["closed_0", "closed_1"]


async def test_one_that_is_stuck_is_left_behind_and_what_waits_behind_it_never_begins() -> None:
    goes_on, done = threading.Event(), threading.Event()
    one = Threads(1, "stuck", done.set)
    stuck, waiting = one.run(goes_on.wait, 30), one.run(len, "")
    assert await one.aclose(0.05) == 1
    assert waiting.cancelled()
    goes_on.set()
    assert await stuck
    assert await asyncio.to_thread(done.wait, 5), "it ends nevertheless"


async def test_who_comes_after_the_close_is_told_so() -> None:
    for used in (False, True):
        one = Threads(1, "closed")
        if used:
            await one.run(len, "")
        assert await one.aclose(5) == 0
        with pytest.raises(RuntimeError, match="closed"):
            one.run(len, "")
        assert await one.aclose(5) == 0, "once more"


async def test_there_are_no_more_than_are_needed(threads: Threads) -> None:
    names = {await threads.run(lambda: threading.current_thread().name) for _ in range(20)}
    assert names == {"two_0"}


async def test_a_thread_that_cannot_be_had_is_asked_for_again(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)
    with monkeypatch.context() as none_more:
        none_more.setattr(threading.Thread, "start", lambda thread: _raise(RuntimeError("can't start new thread")))
        with pytest.raises(RuntimeError, match="can't start"):
            threads.run(len, "")
    assert await threads.run(len, "a") == 1
    with monkeypatch.context() as none_more:
        none_more.setattr(threading.Thread, "start", lambda thread: _raise(RuntimeError("can't start new thread")))
        first = threads.run(both.wait, 5)
        behind = threads.run(len, "ab")
    await asyncio.gather(first, threads.run(both.wait, 5))
    assert await behind == 2


async def test_nothing_of_a_call_is_kept_when_it_has_raised(threads: Threads) -> None:
    class Argument:
        pass

    def fail(argument: Argument) -> None:
        raise KeyError

    argument = Argument()
    kept = weakref.ref(argument)
    gc.disable()
    try:
        future = threads.run(fail, argument)
        del argument
        await asyncio.wait([future])
        assert isinstance(future.exception(), KeyError)
        del future
        await threads.run(len, "")
        assert kept() is None
    finally:
        gc.enable()


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
