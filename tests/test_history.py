"""The checker itself: one good history, and one crafted bad one for each anomaly."""

from typing import Any

import pytest

from tests.history import History, Seen


def seen(type: str, stream: str = "a", **data: Any) -> Seen:
    return Seen(0, f"chat.{type}", {"stream_id": stream, **data})


def status(status: str, stream: str = "a") -> Seen:
    return seen("status", stream, status=status)


def prompt(stream: str = "a") -> Seen:
    return seen("prompt", stream, text="?")


def token(stream: str = "a") -> Seen:
    return seen("token", stream, text="x")


def end(stream: str = "a", reason: str = "completed") -> Seen:
    return seen("end", stream, reason=reason)


def numbered(*events: Seen) -> History:
    return History(event._replace(seq=seq) for seq, event in enumerate(events, 1))


A = (status("thinking"), prompt(), status("streaming"), token(), end())
B = tuple(event._replace(data={**event.data, "stream_id": "b"}) for event in A)


def test_two_streams_in_their_order_have_no_problem() -> None:
    history = numbered(*A[:3], status("queued", "b"), prompt("b"), *A[3:], B[0], *B[2:])
    assert history.problems() == []
    assert history.text("a") == "x"
    assert history.ends() == {"a": "completed", "b": "completed"}
    assert history.of("b").kinds() == ["queued", "prompt", "thinking", "streaming", "token", "end"]


def test_a_prompt_that_never_began_may_end_at_any_time() -> None:
    assert numbered(*A[:3], status("queued", "b"), prompt("b"), end("b", "stopped"), *A[3:]).problems() == []


@pytest.mark.parametrize(
    ("history", "problem"),
    [
        (History([*numbered(*A), Seen(7, "chat.session", {})]), "7 after 5"),
        (History([*numbered(*A), Seen(5, "chat.session", {})]), "5 after 5"),
        (numbered(*A[:4]), "a has no terminal event"),
        (numbered(*A, token()), "6: chat.token of a after its end"),
        (numbered(*A, end()), "6: chat.end of a after its end"),
        (numbered(*A[:2], prompt(), *A[2:]), "3: a is prompted twice"),
        (numbered(*A[:2], token(), *A[2:]), "3: text of a before `streaming`"),
        (numbered(A[0], end()), "2: a ends without its prompt"),
        (numbered(prompt(), status("streaming"), end()), "2: a streams before it thinks"),
        (numbered(status("queued"), status("thinking"), prompt(), end()), "3: the prompt of a comes after"),
        (numbered(*A[:2], status("thinking"), end()), "3: a begins twice"),
        (numbered(*A[:4], B[0], A[4], *B[1:]), "5: chat.status of b before the end of a"),
    ],
)
def test_an_anomaly_is_named(history: History, problem: str) -> None:
    assert any(found.startswith(problem) for found in history.problems())
