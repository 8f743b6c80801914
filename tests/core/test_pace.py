from events.core.pace import IN_STEP, LATE_SECONDS, Pace

USUAL_SECONDS, LONGEST_SECONDS = 0.075, 0.2


def noted(pace: Pace, late_seconds: float, *, start: float, seconds: float) -> list[float]:
    """The interval after each of many timers that are this late."""
    found = []
    for count in range(int(seconds * 100)):
        pace.note(late_seconds, start + count / 100)
        found.append(pace.interval_seconds)
    return found


def test_a_punctual_loop_keeps_the_usual_interval() -> None:
    pace = Pace(USUAL_SECONDS, LONGEST_SECONDS)
    assert set(noted(pace, LATE_SECONDS, start=5, seconds=3)) == {USUAL_SECONDS}


def test_a_late_loop_stretches_it_within_a_second_and_no_further_than_the_longest() -> None:
    pace = Pace(USUAL_SECONDS, LONGEST_SECONDS)
    found = noted(pace, 0.021, start=5, seconds=1)
    assert found == sorted(found)
    assert found[-1] == LONGEST_SECONDS
    assert max(noted(pace, 3.0, start=6, seconds=5)) == LONGEST_SECONDS


def test_it_goes_back_by_itself() -> None:
    pace = Pace(USUAL_SECONDS, LONGEST_SECONDS)
    noted(pace, 0.5, start=5, seconds=1)
    found = noted(pace, 0.001, start=6, seconds=4)
    assert found == sorted(found, reverse=True)
    assert found[-1] == USUAL_SECONDS


def test_it_stays_while_the_loop_is_neither_late_nor_punctual() -> None:
    """Else it would go back and forth: longer, punctual again, shorter, and late again."""
    pace = Pace(USUAL_SECONDS, LONGEST_SECONDS)
    pace.note(0.021, 5.0)
    stretched = pace.interval_seconds
    assert USUAL_SECONDS < stretched < LONGEST_SECONDS
    assert set(noted(pace, 0.015, start=6, seconds=3)) == {stretched}


def test_after_a_quiet_time_it_is_as_usual() -> None:
    pace = Pace(USUAL_SECONDS, LONGEST_SECONDS)
    noted(pace, 0.5, start=5, seconds=1)
    pace.note(0.5, 6.05)
    pace.note(0.001, 3600.0)
    assert pace.interval_seconds == USUAL_SECONDS


def test_one_late_timer_among_many_counts_for_its_while_only() -> None:
    pace = Pace(USUAL_SECONDS, LONGEST_SECONDS)
    noted(pace, 0.0, start=5, seconds=1)
    pace.note(0.05, 6.0)
    assert max(noted(pace, 0.0, start=6.01, seconds=1)) < 0.1
    assert pace.interval_seconds == USUAL_SECONDS


def test_a_longest_below_the_usual_changes_nothing() -> None:
    pace = Pace(0.5, LONGEST_SECONDS)
    assert set(noted(pace, 1.0, start=5, seconds=1)) == {0.5}


def test_three_ticks_fit_into_the_interval_and_a_commit_too() -> None:
    pace = Pace(USUAL_SECONDS, LONGEST_SECONDS)
    assert USUAL_SECONDS * 0.97 < 3 * pace.tick_seconds < USUAL_SECONDS
    assert 41 * pace.tick_seconds > 1


def test_few_streams_keep_step_but_not_many_nor_late_ones() -> None:
    pace = Pace(USUAL_SECONDS, LONGEST_SECONDS)
    pace.streams = IN_STEP
    assert pace.step == 3
    pace.streams += 1
    assert pace.step == 1
    pace.streams = 1
    noted(pace, 0.5, start=5, seconds=1)  # else an interval could only be twice or thrice as long
    assert pace.step == 1
