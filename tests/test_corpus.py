"""The checker itself: one crafted bad text for each anomaly."""

import pytest

from tests.corpus import plain_text, problems, sent_times, token_text, tokens_in

T = [token_text(k) for k in range(5)]


def test_a_whole_text_has_no_problem() -> None:
    assert problems(plain_text(5), 5) == []
    assert tokens_in(plain_text(5)) == 5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (T[0] + T[1] + T[3] + T[4], "lost or late tokens 2 to 2"),
        (T[0] + T[1] + T[1] + T[2], "repeated token 1"),
        (T[0] + T[2] + T[1], "reordered token 1 after 2"),
        (T[0] + T[1] + T[2][:-3], "truncated after token 1"),
        (T[0] + T[1][2:] + T[2], "damaged before token 1"),
        (T[0] + token_text(1, "another stream"), "foreign token 1"),
        (T[1] + T[2], "lost or late tokens 0 to 0"),
    ],
)
def test_an_anomaly_is_named(text: str, problem: str) -> None:
    assert any(found.startswith(problem) for found in problems(text))


def test_too_few_tokens_are_named() -> None:
    assert problems(T[0] + T[1], 3) == ["2 tokens instead of 3"]


def test_a_timed_text_tells_when_it_was_sent() -> None:
    text = token_text(0, sent_at=1.5) + token_text(1, sent_at=2.25)
    assert sent_times(text) == [1.5, 2.25]
    assert problems(text, 2) == []
