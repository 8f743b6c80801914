from events.core.pace import IN_STEP, LATE_SECONDS, USUAL_TICKS, Pace

USUAL_SECONDS, LONGEST_SECONDS = 0.075, 0.2


class Loop:
    """An event loop that is late, and busy, as it is told."""

    def __init__(self, interval_seconds: float = USUAL_SECONDS, longest_seconds: float = LONGEST_SECONDS) -> None:
        self.pace = Pace(interval_seconds, longest_seconds)
        self.now, self.spent_seconds = 5.0, 100.0

    def run(self, seconds: float, *, late_seconds: float, share: float = 0.5) -> list[float]:
        """The interval after each of many timers that are this late."""
        found = []
        for _ in range(round(seconds * 100)):
            self.now += 0.01
            self.spent_seconds += 0.01 * share
            self.pace.note(late_seconds)
            if not self.pace.is_judged(self.now):
                self.pace.judge(self.now, self.spent_seconds)
            found.append(round(self.pace.interval_seconds, 9))
        return found


def test_a_punctual_loop_keeps_the_usual_interval() -> None:
    assert set(Loop().run(3, late_seconds=LATE_SECONDS, share=0.99)) == {USUAL_SECONDS}


def test_a_late_loop_doubles_it_and_then_makes_it_as_long_as_it_may_be_within_a_second() -> None:
    loop = Loop()
    loop.pace.streams = IN_STEP + 1
    found = loop.run(1, late_seconds=0.021)
    assert list(dict.fromkeys(found)) == [USUAL_SECONDS, 2 * USUAL_SECONDS, LONGEST_SECONDS]
    assert set(loop.run(5, late_seconds=3.0)) == {LONGEST_SECONDS}


def test_a_loop_that_has_no_time_left_is_not_watched_for_long() -> None:
    usual = {}
    for share in (0.5, 1.0):
        loop = Loop()
        loop.pace.streams = IN_STEP + 1
        loop.run(1, late_seconds=0.0)
        usual[share] = loop.run(1, late_seconds=0.021, share=share).count(USUAL_SECONDS)
    assert usual[1.0] <= 11
    assert usual[0.5] <= 22


def test_one_pause_is_no_reason() -> None:
    loop = Loop()
    loop.run(1, late_seconds=0.0)
    loop.pace.note(0.5)
    assert set(loop.run(2, late_seconds=0.0)) == {USUAL_SECONDS}


def test_it_goes_back_by_itself_when_there_is_room() -> None:
    loop = Loop()
    loop.run(2, late_seconds=0.5)
    assert set(loop.run(3, late_seconds=0.001, share=0.6)) == {LONGEST_SECONDS}
    found = loop.run(3, late_seconds=0.001, share=0.4)
    assert found == sorted(found, reverse=True)
    assert found[-1] == USUAL_SECONDS


def test_it_goes_back_from_however_long_it_may_become() -> None:
    for longest_seconds in (0.1, 0.5, 2.0, 60.0):
        loop = Loop(longest_seconds=longest_seconds)
        loop.run(5, late_seconds=0.5)
        assert loop.pace.interval_seconds > 0.9 * longest_seconds
        assert loop.run(12, late_seconds=0.0, share=0.45)[-1] == USUAL_SECONDS


def test_it_stays_while_a_loop_with_room_is_late_now_and_then() -> None:
    loop = Loop()
    loop.run(2, late_seconds=0.5)
    for _ in range(10):
        loop.pace.note(0.021)
        assert set(loop.run(0.5, late_seconds=0.0, share=0.1)) == {LONGEST_SECONDS}


def test_after_a_quiet_time_it_is_as_usual() -> None:
    loop = Loop()
    loop.run(2, late_seconds=0.5)
    loop.now += 3600
    assert set(loop.run(0.1, late_seconds=0.001)) == {USUAL_SECONDS}


def test_where_it_may_not_be_longer_it_never_is() -> None:
    assert set(Loop(0.075, 0.05).run(2, late_seconds=1.0)) == {0.075}
    assert set(Loop(0.0, 0.2).run(2, late_seconds=1.0)) == {0.0}


def test_three_ticks_fit_into_the_interval_and_a_commit_too() -> None:
    pace = Pace(USUAL_SECONDS, LONGEST_SECONDS)
    assert USUAL_SECONDS * 0.97 < USUAL_TICKS * pace.tick_seconds < USUAL_SECONDS
    assert 41 * pace.tick_seconds > 1


def test_few_streams_keep_step_and_many_are_spread() -> None:
    pace = Pace(USUAL_SECONDS, LONGEST_SECONDS)
    numbers = [pace.join() for _ in range(IN_STEP)]
    assert {pace.slot(number) for number in numbers} == {0}
    numbers.append(pace.join())
    slots = [pace.slot(number) % pace.ticks for number in numbers]
    assert {slots.count(slot) for slot in range(USUAL_TICKS)} <= {33, 34}
    pace.leave()
    assert {pace.slot(number) for number in numbers} == {0}


def test_a_stretched_interval_leaves_a_stream_every_second_of_its_ticks() -> None:
    loop = Loop()
    numbers = [loop.pace.join() for _ in range(IN_STEP + 20)]
    before = [loop.pace.slot(number) % loop.pace.ticks for number in numbers]
    loop.run(0.35, late_seconds=0.021)
    assert loop.pace.ticks == 2 * USUAL_TICKS
    after = [loop.pace.slot(number) % loop.pace.ticks for number in numbers]
    assert [slot % USUAL_TICKS for slot in after] == before
    assert {after.count(slot) for slot in range(loop.pace.ticks)} == {20}


def test_few_streams_that_are_too_much_for_one_moment_are_spread_for_a_while() -> None:
    loop = Loop()
    numbers = [loop.pace.join() for _ in range(6)]
    assert set(loop.run(0.3, late_seconds=0.021)) == {USUAL_SECONDS}
    spread = {loop.pace.slot(number) % USUAL_TICKS for number in numbers}
    assert spread == {0, 1, 2}
    assert set(loop.run(55, late_seconds=0.001)) == {USUAL_SECONDS}
    assert {loop.pace.slot(number) % USUAL_TICKS for number in numbers} == spread
    loop.run(10, late_seconds=0.001)
    assert {loop.pace.slot(number) for number in numbers} == {0}


def test_a_pause_in_which_no_time_was_left_does_not_keep_a_loop_with_room_from_going_back() -> None:
    loop = Loop()
    loop.pace.streams = IN_STEP + 1
    loop.run(1, late_seconds=0.0, share=0.5)
    loop.run(0.2, late_seconds=0.1, share=1.0)
    assert loop.pace.ticks == 2 * USUAL_TICKS
    assert loop.run(2, late_seconds=0.0, share=0.5)[-1] == USUAL_SECONDS


def test_many_that_come_are_known_to_be_too_many_before_the_loop_is_late() -> None:
    for streams, interval_seconds in ((700, USUAL_SECONDS), (1_200, 2 * USUAL_SECONDS), (2_000, LONGEST_SECONDS)):
        loop = Loop()
        loop.run(1, late_seconds=0.0)
        loop.pace.streams = streams
        assert loop.run(0.11, late_seconds=0.0)[-1] == interval_seconds
        assert set(loop.run(1.8, late_seconds=0.0, share=0.1)) == {interval_seconds}
        assert loop.run(2, late_seconds=0.0, share=0.1)[-1] == USUAL_SECONDS  # they do not need so much


def test_many_that_begin_to_speak_are_known_to_be_too_many_at_once_even_after_a_quiet_time() -> None:
    loop = Loop()
    loop.pace.streams = 2_000
    loop.run(5, late_seconds=0.0, share=0.01)  # they came, and have waited for their models since
    assert loop.pace.interval_seconds == USUAL_SECONDS
    loop.now += 10  # nothing to do meanwhile: nobody judges
    loop.pace.begun += 1
    assert loop.run(0.01, late_seconds=0.0)[0] == LONGEST_SECONDS
    assert loop.run(3, late_seconds=0.0, share=0.1)[-1] == USUAL_SECONDS  # they do not need so much


def test_while_many_come_it_goes_back_by_no_small_step() -> None:
    """From 200 to 150 ms is a third more of work, for which a nearly full loop has no room."""
    loop = Loop()
    loop.run(1, late_seconds=0.0, share=0.1)
    for _ in range(2400):
        loop.pace.join()
    loop.pace.begun += 1
    assert loop.run(0.2, late_seconds=0.0, share=0.7)[-1] == LONGEST_SECONDS
    for _ in range(18):
        loop.pace.begun += 1
        loop.pace.batches += 1400  # 50 us each: 150 ms would do, if nothing else came
        assert set(loop.run(0.1, late_seconds=0.0, share=0.7)) == {LONGEST_SECONDS}


def test_few_that_begin_to_speak_change_nothing() -> None:
    loop = Loop()
    loop.pace.streams = 100
    for _ in range(100):
        loop.pace.begun += 1
        assert loop.run(0.11, late_seconds=0.0)[-1] == USUAL_SECONDS


def test_what_a_batch_costs_is_learnt_while_there_is_much_to_do() -> None:
    for cost_seconds, interval_seconds in (
        (40e-6, USUAL_SECONDS),
        (70e-6, 2 * USUAL_SECONDS),
        (140e-6, LONGEST_SECONDS),
    ):
        loop, found = Loop(), list[float]()
        loop.pace.streams = 1_000
        for step in range(3_000):
            loop.pace.streams = 1_000 + step // 10 % 2  # some come, some go
            batches = round(0.01 * 1_000 / loop.pace.interval_seconds)
            loop.pace.batches += batches
            found += loop.run(0.01, late_seconds=0.0, share=min(1.0, batches * cost_seconds / 0.01))
        assert found[-1] == interval_seconds


def test_other_work_makes_batches_not_dear_for_good() -> None:
    loop = Loop()
    for streams in range(1, 301):
        loop.pace.streams, loop.pace.batches = streams, loop.pace.batches + 1
        assert set(loop.run(0.1, late_seconds=0.0, share=0.8)) == {USUAL_SECONDS}
    loop.pace.streams = 500
    assert loop.run(0.2, late_seconds=0.0, share=0.8)[-1] > USUAL_SECONDS
    assert loop.run(4, late_seconds=0.0, share=0.1)[-1] == USUAL_SECONDS
    for _ in range(10):
        loop.pace.batches += 1_000
        loop.run(0.1, late_seconds=0.0, share=0.2)
    loop.pace.streams = 900
    assert set(loop.run(1, late_seconds=0.0, share=0.2)) == {USUAL_SECONDS}
