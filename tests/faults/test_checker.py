"""The checker itself: good histories have no violation, and each anomaly is named in one crafted bad history."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.checker import violations
from tests.history import Seen
from tests.transcript import Transcript


@dataclass
class Given:
    seen: list[Seen]
    after: int | None = 0


def event(type: str, stream: str = "a", **data: Any) -> Seen:
    return Seen(None, f"chat.{type}", {"stream_id": stream, "message_id": f"{stream}1", **data})


def status(status: str, stream: str = "a") -> Seen:
    return event("status", stream, status=status)


def stream(name: str, *texts: str, end: Seen | None = None) -> list[Seen]:
    prompt = Seen(None, "chat.prompt", {"stream_id": name, "message_id": f"{name}0", "text": "?"})
    tokens = [event("token", name, text=text) for text in texts]
    return [
        status("thinking", name),
        prompt,
        status("streaming", name),
        *tokens,
        end or event("end", name, reason="completed"),
    ]


def log(*events: Seen) -> list[Seen]:
    return [each._replace(seq=seq) for seq, each in enumerate(events, 1)]


def session(events: list[Seen]) -> dict[str, Any]:
    """As it is to be stored after these events."""
    told = Transcript()
    for seen in events:
        told.take(seen)
    return {"messages": told.messages, "active_stream": told.active_stream, "last_seq": len(events)}


A = log(*stream("a", "one ", "two ", "three"))  # seqs 1 to 7, the text 4 to 6
A_B = log(*stream("a", "one"), *stream("b", "two"))
STORED = session(A)


def snapshot(events: list[Seen], **data: Any) -> Seen:
    return Seen(len(events), "snapshot", {**session(events), **data})


def test_viewers_of_every_kind_who_were_given_the_same_are_without_fault() -> None:
    ping = Seen(None, "ping", {"seq": 5})
    viewers = [
        Given(A),
        Given([*A[:5], ping, *A[5:]]),
        Given(A[3:], after=3),
        Given([snapshot(A[:4]), *A[4:]], after=None),
        Given([], after=7),
    ]
    assert violations(viewers, STORED, caught_up=True) == []


def test_a_reset_is_without_fault_only_where_there_may_be_any() -> None:
    reset = snapshot(A[:5], reset=True)
    viewers = [Given(A), Given([*A[:2], reset, *A[5:]])]
    assert violations(viewers, STORED, caught_up=True, resets_allowed=True) == []
    [found] = violations(viewers, STORED, caught_up=True)
    assert found.startswith("viewer 1: a snapshot at 5 follows 2")


def test_a_session_in_which_nothing_happened_needs_nobody_who_saw_it() -> None:
    assert violations([], session([]), caught_up=True) == []


def test_a_stream_that_runs_on_needs_no_end_yet() -> None:
    assert violations([Given(A[:5])], session(A[:5])) == []


def test_two_streams_one_after_the_other_are_without_fault() -> None:
    assert violations([Given(A_B)], session(A_B), caught_up=True) == []


def test_what_came_after_the_session_was_read_is_no_difference() -> None:
    assert violations([Given(A_B)], session(A_B[:5])) == []


LATE_TOKEN = log(*A, event("token", text="late"))
OVERLAP = log(*A_B[:4], A_B[5], A_B[4], *A_B[6:])
OTHER = A[4]._replace(data={**A[4].data, "text": "2!"})
NO_END = A[:6]
NO_SNAPSHOT = "viewer 1: a snapshot at 5 follows 2: what it stands for was not given"
TOO_LATE = snapshot(A)._replace(seq=9)
ANOMALIES: dict[str, tuple[list[Given], dict[str, Any] | None, str]] = {
    "lost": ([Given([*A[:4], *A[5:]])], STORED, "viewer 0: seq 6 follows 4: what is between is lost"),
    "lost at the beginning": ([Given(A[1:])], STORED, "viewer 0: seq 2 follows 0"),
    "lost at the end": ([Given(A), Given(A[:6])], STORED, "viewer 1 was given 6 of 7 events"),
    "lost after a snapshot": ([Given(A), Given([snapshot(A[:4]), *A[5:]], None)], STORED, "viewer 1: seq 6 follows 4"),
    "lost on resuming": ([Given(A), Given(A[4:], after=3)], STORED, "viewer 1: seq 5 follows 3"),
    "shown and then gone": ([Given(A)], session(A[:5]), "viewer 0 was given 7 events, of which 5 are stored: shown"),
    "gone, and seen by one": ([Given(A[:5]), Given(A)], session(A[:5]), "viewer 1 was given 7 events, of which 5"),
    "a snapshot instead of events": ([Given(A), Given([*A[:2], snapshot(A[:5]), *A[5:]])], STORED, NO_SNAPSHOT),
    "a second snapshot": ([Given(A), Given([snapshot(A[:2]), snapshot(A[:5]), *A[5:]], None)], STORED, NO_SNAPSHOT),
    "a snapshot of what never was": ([Given(A), Given([TOO_LATE], None)], STORED, "the snapshot of viewer 1 at 9 of 7"),
    "nobody saw it whole": ([Given([snapshot(A[:4]), *A[4:]], None)], STORED, "nobody saw it whole"),
    "nobody saw anything": ([], STORED, "nobody saw it whole"),
    "repeated": ([Given([*A[:5], A[4], *A[5:]])], STORED, "viewer 0: seq 5 is repeated"),
    "reordered": ([Given([*A[:4], A[5], A[4], A[6]])], STORED, "viewer 0: seq 5 is reordered: it follows 6"),
    "given without being asked": ([Given(A), Given(A[2:], after=3)], STORED, "viewer 1: seq 3 is reordered"),
    "no snapshot": ([Given(A, after=None)], STORED, "viewer 0: seq 1 comes before any snapshot"),
    "other content": ([Given(A), Given([*A[:4], OTHER, *A[5:]])], STORED, "viewer 1: seq 5 is ("),
    "a hole in the log": ([Given([*A[:4], *A[5:]]), Given([*A[:4], *A[5:]])], STORED, "viewer 1: seq 6 follows 4"),
    "other text stored": ([Given(A)], session([*A[:4], OTHER, *A[5:]]), "the events up to 7 say {"),
    "less text stored": ([Given(A)], {**session([*A[:5], A[6]]), "last_seq": 7}, "the events up to 7 say {"),
    "message not stored": ([Given(A)], {**STORED, "messages": STORED["messages"][:1]}, "the events up to 7 say {"),
    "active, though ended": ([Given(A)], {**STORED, "active_stream": {}}, "the events up to 7 say None instead of {}"),
    "two ends": ([Given(log(*A, A[6]))], None, "8: chat.end of a after its end"),
    "an error after the end": ([Given(log(*A, event("error", code="worker_lost")))], None, "8: chat.error of a after"),
    "text after the end": ([Given(LATE_TOKEN)], None, "8: chat.token of a after its end"),
    "no end": ([Given(NO_END)], {**STORED, "last_seq": 6}, "a has no terminal event"),
    "two active streams": ([Given(OVERLAP)], None, "5: chat.status of b before the end of a"),
    "wrong snapshot": ([Given(A), Given([snapshot(A[:4])._replace(seq=5), *A[5:]], None)], None, "the events up to 5"),
}


@pytest.mark.parametrize("name", ANOMALIES)
def test_an_anomaly_is_named(name: str) -> None:
    viewers, stored, problem = ANOMALIES[name]
    found = violations(viewers, stored, caught_up=True)
    assert any(each.startswith(problem) for each in found), found
