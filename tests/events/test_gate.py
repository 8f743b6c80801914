"""Few at a time, in order, and nobody for ever (looptime)."""

import asyncio

import pytest

from events.gate import Gate

pytestmark = pytest.mark.looptime


async def test_so_many_are_inside_at_a_time_in_the_order_of_coming() -> None:
    gate, inside, most, order = Gate(3, 100.0), 0, 0, list[int]()

    async def visit(number: int) -> None:
        nonlocal inside, most
        async with gate.entered():
            order.append(number)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(1)
            inside -= 1

    await asyncio.gather(*(visit(number) for number in range(10)))
    assert most == 3
    assert order == list(range(10))
    assert asyncio.get_running_loop().time() == pytest.approx(4)


async def test_who_has_waited_long_enough_goes_in_all_the_same() -> None:
    gate, loop = Gate(1, 2.0), asyncio.get_running_loop()
    async with gate.entered(), gate.entered():
        assert loop.time() == pytest.approx(2)
    async with gate.entered():  # each place was given back once
        assert loop.time() == pytest.approx(2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), gate.entered():
                raise AssertionError("there was one place only")


async def test_who_gives_up_waiting_or_fails_inside_takes_no_place() -> None:
    gate, loop = Gate(1, 100.0), asyncio.get_running_loop()

    async def fail() -> None:
        async with gate.entered():
            waiting = asyncio.create_task(gate.entered().__aenter__())
            await asyncio.sleep(1)
            waiting.cancel()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with gate.entered():
        assert loop.time() == pytest.approx(1)


async def test_it_can_be_made_wider_for_those_who_wait_and_those_who_come() -> None:
    gate, loop = Gate(1, 100.0), asyncio.get_running_loop()

    async def visit() -> None:
        async with gate.entered():
            await asyncio.sleep(1)

    visits = [asyncio.create_task(visit()) for _ in range(5)]
    await asyncio.sleep(0.5)
    gate.widen(4)
    await asyncio.gather(*visits)
    assert loop.time() == pytest.approx(1.5)
