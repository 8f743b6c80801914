import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.core.cursor import Cursor, Step


@pytest.mark.parametrize(
    ("seq", "step", "cursor_seq"),
    [(8, Step.NEXT, 8), (7, Step.OLD, 7), (1, Step.OLD, 7), (9, Step.GAP, 7)],
)
def test_only_the_next_seq_moves_the_cursor(seq: int, step: Step, cursor_seq: int) -> None:
    cursor = Cursor(7)
    assert cursor.step(seq) is step
    assert cursor.seq == cursor_seq


@given(st.lists(st.integers(min_value=1, max_value=12)))
def test_what_a_cursor_lets_through_is_in_order_and_without_holes(arriving: list[int]) -> None:
    cursor = Cursor(0)
    written = [seq for seq in arriving if cursor.step(seq) is Step.NEXT]
    assert written == list(range(1, cursor.seq + 1))
