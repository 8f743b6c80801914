import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, pairwise
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.core.batching import Batch, Batcher
from events.core.pace import TICK_SHARE
from tests.core.simulation import Run, run
from tests.core.texts import valid_text

INTERVAL_SECONDS = 0.075
FLUSH_BYTES = 1024
COMMON_TICK_SECONDS = TICK_SHARE * INTERVAL_SECONDS
SECONDS = 10


def batcher() -> Batcher:
    return Batcher(INTERVAL_SECONDS, FLUSH_BYTES)


# --- the rules, one by one ---


def test_the_first_token_leaves_at_once() -> None:
    waiting = batcher()
    waiting.add("Hello", now=5.0)
    assert waiting.deadline() == 5.0
    waiting.add(" world", now=5.01)  # the publisher is slow to wake
    assert waiting.deadline() == 5.0
    assert waiting.take(now=5.02) == Batch("Hello world", tokens=2, size_bytes=11)


def test_after_a_quiet_interval_a_token_leaves_at_once() -> None:
    waiting = batcher()
    flush(waiting, now=5.0)
    waiting.add("b", now=6.0)
    assert waiting.deadline() == 6.0


def test_a_token_soon_after_a_flush_waits_for_the_interval_from_its_start() -> None:
    waiting = batcher()
    flush(waiting, now=5.0, ended=5.02)
    waiting.add("b", now=5.03)
    waiting.add("c", now=5.06)
    assert waiting.deadline() == 5.0 + INTERVAL_SECONDS
    assert waiting.take(now=5.076) == Batch("bc", tokens=2, size_bytes=2)


def test_steady_tokens_do_not_put_the_deadline_off() -> None:
    waiting = batcher()
    flush(waiting, now=5.0)
    for tick in range(7):
        waiting.add("x", now=5.01 + tick / 100)
        assert waiting.deadline() == 5.0 + INTERVAL_SECONDS


def test_more_than_the_flush_bytes_leave_at_once() -> None:
    waiting = batcher()
    flush(waiting, now=5.0)
    waiting.add("é" * 512, now=5.01)
    assert not waiting.immediate
    assert waiting.deadline() == 5.0 + INTERVAL_SECONDS
    waiting.add("x", now=5.02)
    assert waiting.immediate
    assert is_due(waiting, now=5.02)


def test_what_arrives_in_a_flush_joins_the_next_batch() -> None:
    waiting = batcher()
    waiting.add("a", now=5.0)
    waiting.take(now=5.0)
    waiting.add("b" * 2000, now=5.01)
    assert waiting.deadline() is None
    assert (waiting.pending_tokens, waiting.pending_bytes) == (1, 2000)
    waiting.done(now=5.5)
    assert is_due(waiting, now=5.5)
    assert waiting.take(now=5.5) == Batch("b" * 2000, tokens=1, size_bytes=2000)
    assert (waiting.pending_tokens, waiting.pending_bytes) == (0, 0)


def test_only_one_flush_is_in_flight() -> None:
    waiting = batcher()
    waiting.add("a", now=5.0)
    waiting.take(now=5.0)
    waiting.add("b", now=5.1)
    with pytest.raises(RuntimeError, match="in flight"):
        waiting.take(now=5.2)
    waiting.done(now=5.3)
    with pytest.raises(RuntimeError, match="in flight"):
        waiting.done(now=5.3)
    assert waiting.take(now=5.4) == Batch("b", tokens=1, size_bytes=1)


def test_waiting_text_can_be_taken_before_it_is_due() -> None:
    waiting = batcher()
    flush(waiting, now=5.0)
    waiting.add("last words", now=5.01)
    assert waiting.take(now=5.01) == Batch("last words", tokens=1, size_bytes=10)


def test_nothing_waits_until_there_is_text() -> None:
    waiting = batcher()
    waiting.add("", now=5.0)
    assert waiting.deadline() is None
    assert waiting.take(now=5.0) is None
    assert not waiting.in_flight


@pytest.mark.parametrize(("text", "size_bytes"), [("abc", 3), ("é", 2), ("😀", 4), ("\ud83d", 3)])
def test_sizes_are_utf_8_bytes(text: str, size_bytes: int) -> None:
    waiting = batcher()
    waiting.add(text, now=5.0)
    assert waiting.pending_bytes == size_bytes


def test_the_interval_may_change_while_text_waits() -> None:
    waiting = batcher()
    flush(waiting, now=5.0)
    waiting.add("b", now=5.01)
    waiting.keep(0.2, ticks=1, slot=0)
    assert waiting.deadline() == 5.2
    waiting.keep(0.0, ticks=1, slot=0)
    assert waiting.deadline() == 5.01


# --- a common tick ---


def test_with_a_tick_the_deadline_is_rounded_down_to_it() -> None:
    waiting = Batcher(INTERVAL_SECONDS, FLUSH_BYTES, COMMON_TICK_SECONDS)
    flush(waiting, now=5.01)
    waiting.add("b", now=5.02)
    assert waiting.deadline() == pytest.approx(206 * COMMON_TICK_SECONDS)
    waiting.take(now=5.08)
    waiting.done(now=5.09)
    waiting.add("c", now=5.09)
    assert waiting.deadline() == pytest.approx(209 * COMMON_TICK_SECONDS)


def test_a_tick_delays_neither_the_first_token_nor_one_after_a_pause() -> None:
    waiting = Batcher(INTERVAL_SECONDS, FLUSH_BYTES, COMMON_TICK_SECONDS)
    flush(waiting, now=5.01)
    waiting.add("after the tick", now=5.08)
    assert waiting.deadline() == 5.08
    waiting.take(now=5.08)
    waiting.done(now=5.08)
    waiting.add("after a pause", now=6.01)
    assert waiting.deadline() == 6.01


def test_with_a_tick_the_batches_of_many_streams_leave_together() -> None:
    chance = random.Random(5)
    starts: set[int] = set()
    for _ in range(50):
        arrivals = [(chance.random() / 50 + count / 50, "token") for count in range(50)]
        done = run(Batcher(INTERVAL_SECONDS, FLUSH_BYTES, COMMON_TICK_SECONDS), arrivals)
        starts |= {round(flush.started * 1e6) for flush in done.flushes[1:]}
    assert len(starts) <= 1.1 / COMMON_TICK_SECONDS  # each alone makes 14 a second: 700 without the tick


def test_a_stream_comes_to_its_own_ticks_and_stays_there() -> None:
    for slot in range(6):
        waiting = Batcher(INTERVAL_SECONDS, FLUSH_BYTES, COMMON_TICK_SECONDS)
        waiting.keep(2 * INTERVAL_SECONDS, 6, slot)
        done = run(waiting, [(0.01 + count / 50, "token") for count in range(300)])
        ticks = [floor(flush.started / COMMON_TICK_SECONDS + 1e-6) for flush in done.flushes[1:-1]]
        assert {tick % 6 for tick in ticks[21:]} == {slot}
        assert max(done.delays) <= 2 * INTERVAL_SECONDS
        early = [place for place, (tick, later) in enumerate(pairwise(ticks)) if later - tick < 6]
        assert all(later - place >= 4 for place, later in pairwise(early))


@pytest.mark.parametrize("slot", range(6))
def test_where_batches_are_late_none_leaves_a_tick_early_for_its_own_ticks(slot: int) -> None:
    waiting = Batcher(INTERVAL_SECONDS, FLUSH_BYTES, COMMON_TICK_SECONDS)
    waiting.keep(2 * INTERVAL_SECONDS, 6, slot)
    starts = started(waiting, 20, lambda: 0.6 * COMMON_TICK_SECONDS)
    assert {round((later - start) / COMMON_TICK_SECONDS, 3) for start, later in pairwise(starts[1:])} == {6.0}


@pytest.mark.parametrize("late_seconds", [0.0, 0.002, 0.004])
def test_streams_that_are_late_by_little_come_to_their_own_ticks_within_seconds(late_seconds: float) -> None:
    chance = random.Random(3)
    for slot in range(3):
        waiting = Batcher(INTERVAL_SECONDS, FLUSH_BYTES, COMMON_TICK_SECONDS)
        waiting.keep(INTERVAL_SECONDS, 3, slot)
        starts = started(waiting, 100, lambda: chance.uniform(0, late_seconds))
        assert {floor(start / COMMON_TICK_SECONDS + 1e-6) % 3 for start in starts[60:]} == {slot}


def test_however_late_batches_are_no_second_sees_more_than_14() -> None:
    chance = random.Random(4)
    for seed in range(40):
        waiting = Batcher(INTERVAL_SECONDS, FLUSH_BYTES, COMMON_TICK_SECONDS)
        waiting.keep(INTERVAL_SECONDS, 3, seed % 3)
        usual = chance.choice([0.0, 0.003, 0.006, 0.010, 0.020])
        starts = started(waiting, 40, lambda usual=usual: usual)  # type: ignore[misc]
        starts += started(waiting, 60, lambda: chance.choice([0.0, 0.0, 0.0, 0.004]), starts[-1])
        assert most_in_one_second(starts) <= 14


def started(waiting: Batcher, batches: int, late: Callable[[], float], after: float = 5.0) -> list[float]:
    """When the batches of a stream left that always has text, each so late."""
    starts = []
    now = after
    for _ in range(batches):
        waiting.add("x", now + 0.001)
        deadline = waiting.deadline()
        assert deadline is not None
        now = deadline + late()
        waiting.take(now)
        waiting.done(now)
        starts.append(now)
    return starts


def test_several_tokens_at_once_are_what_they_are_one_by_one() -> None:
    texts = ["a", "", "é", "\ud83d", "\ude00", "😀", ""]
    one, many = batcher(), batcher()
    for text in texts:
        one.add(text, now=5.0)
    many.extend(texts, since=5.0)
    assert one.take(now=5.0) == many.take(now=5.0)
    assert many.pending_bytes == 0
    many.extend(["", ""], since=6.0)
    assert many.deadline() is None


def is_due(waiting: Batcher, now: float) -> bool:
    deadline = waiting.deadline()
    return deadline is not None and deadline <= now


def flush(waiting: Batcher, now: float, ended: float | None = None) -> None:
    waiting.add("a", now)
    assert waiting.take(now) is not None
    waiting.done(now if ended is None else ended)


# --- any tokens at any times, flushes of any length ---

TICK_SECONDS = 1 / 1024  # sums of these are exact
EXACT_INTERVAL_SECONDS = 78 * TICK_SECONDS
ticks = st.integers(min_value=0, max_value=200).map(lambda count: count * TICK_SECONDS)
bursts = st.just(0.0) | ticks


@given(
    st.lists(st.tuples(bursts, valid_text.filter(bool) | st.sampled_from(["x" * 1025, "é" * 400])), max_size=25),
    st.lists(bursts, max_size=10),
    st.sampled_from([0.0, 25 * TICK_SECONDS]),  # the product's share, nearly
)
def test_any_tokens_at_any_times_are_sent_in_order_and_in_time(
    tokens: list[tuple[float, str]], flush_seconds: list[float], tick_seconds: float
) -> None:
    arrivals = list(zip(accumulate(gap for gap, _ in tokens), (text for _, text in tokens), strict=True))
    done = run(Batcher(EXACT_INTERVAL_SECONDS, FLUSH_BYTES, tick_seconds), arrivals, flush_seconds)

    assert done.text == "".join(text for _, text in tokens)
    assert sum(flush.batch.tokens for flush in done.flushes) == len(tokens)
    for flush in done.flushes:
        assert flush.batch.size_bytes == len(flush.batch.text.encode())
    assert_nothing_late_or_early(done, tick_seconds)


def assert_nothing_late_or_early(done: Run, tick_seconds: float) -> None:
    previous_started, previous_ended = -1.0, -1.0
    for flush in done.flushes:
        first_arrived, last_arrived = flush.started - flush.delays[0], flush.started - flush.delays[-1]
        due = previous_started + EXACT_INTERVAL_SECONDS
        if tick_seconds and due > first_arrived:
            due -= due % tick_seconds
        due = max(first_arrived, due)
        if flush.immediate:
            assert flush.started == max(last_arrived, previous_ended)
            assert flush.started <= max(due, previous_ended)
        else:
            assert flush.batch.size_bytes <= FLUSH_BYTES
            assert flush.started == max(due, previous_ended)
        previous_started, previous_ended = flush.started, flush.ended


# --- the goal: mean added delay at most 40 ms, maximum 80 ms, at most 14 timed flushes a second ---


def steady(tokens_per_second: int, chance: random.Random) -> Iterator[float]:
    start = chance.random()
    return (start + count / tokens_per_second for count in range(SECONDS * tokens_per_second))


def jittered(tokens_per_second: int, chance: random.Random) -> Iterator[float]:
    return iter(sorted(time + chance.uniform(0, 0.02) for time in steady(tokens_per_second, chance)))


def at_random(tokens_per_second: int, chance: random.Random) -> Iterator[float]:
    return accumulate(chance.expovariate(tokens_per_second) for _ in range(SECONDS * tokens_per_second))


@pytest.mark.parametrize("slot", [None, 2])  # of the three ticks in the interval, which is its own
@pytest.mark.parametrize("token_bytes", [4, 40])
@pytest.mark.parametrize("arriving", [steady, jittered, at_random])
@pytest.mark.parametrize("tokens_per_second", [10, 20, 50, 100, 300, 1000])
def test_the_delay_and_the_number_of_flushes_stay_within_their_goals(
    tokens_per_second: int,
    arriving: Callable[[int, random.Random], Iterable[float]],
    token_bytes: int,
    slot: int | None,
) -> None:
    times = list(arriving(tokens_per_second, random.Random(7)))
    arrivals = [(time, "x" * token_bytes) for time in times]
    commits = [0.003] * len(arrivals)
    waiting = Batcher(INTERVAL_SECONDS, FLUSH_BYTES, COMMON_TICK_SECONDS)
    if slot is not None:
        waiting.keep(INTERVAL_SECONDS, 3, slot)
    done = run(waiting, arrivals, commits, timer_late_seconds=0.001)

    assert done.text == "x" * token_bytes * len(arrivals)
    assert sum(done.delays) / len(arrivals) <= 0.040
    assert max(done.delays) <= 0.080
    timed = [flush.started for flush in done.flushes if not flush.immediate]
    assert most_in_one_second(timed) <= 14
    assert all(flush.batch.size_bytes > FLUSH_BYTES for flush in done.flushes if flush.immediate)


def most_in_one_second(times: list[float]) -> int:
    return max((bisect_left(times, time + 1.0) - first for first, time in enumerate(times)), default=0)


def test_flushes_never_overlap() -> None:
    arrivals = [(count / 1000, "x" * 300) for count in range(500)]
    done = run(batcher(), arrivals, [0.05] * 500)
    assert all(second.started >= first.ended for first, second in pairwise(done.flushes))


def test_a_pause_costs_the_next_token_nothing() -> None:
    done = run(batcher(), [(count * 0.1, "x") for count in range(50)])
    assert done.delays == [0.0] * 50
