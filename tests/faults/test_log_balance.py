"""The judge of the logs: what balances is without fault, and each thing that does not is named."""

from tests.faults.log_balance import unaccounted

START = "2026-01-01T00:00:00Z info stream_start trace={0} stream_id=s session=x"
END = "2026-01-01T00:00:00Z info stream_end trace={0} session=x reason=completed cleanup_done=True"
A, B = "a", "b"


def begun_and_ended(*traces: str) -> list[str]:
    return [line.format(trace) for trace in traces for line in (START, END)]


def test_streams_that_began_and_ended_balance() -> None:
    assert unaccounted(begun_and_ended(A, B), "x", 2) == []


def test_other_sessions_do_not_count() -> None:
    assert unaccounted([*begun_and_ended(A), START.format(B).replace("=x", "=y")], "x", 1) == []


def test_a_stream_without_an_end_is_named() -> None:
    assert unaccounted([*begun_and_ended(A), START.format(B)], "x", 2) == ["trace b has 1 first lines and 0 last ones"]


def test_an_end_without_cleanup_is_none() -> None:
    lines = [START.format(A), END.format(A).replace("cleanup_done=True", "cleanup_done=False")]
    assert unaccounted(lines, "x", 1) == ["trace a has 1 first lines and 0 last ones"]


def test_an_end_of_two_processes_is_named() -> None:
    lines = [*begun_and_ended(A), END.format(A)]
    assert unaccounted(lines, "x", 1) == ["trace a has 1 first lines and 2 last ones"]


def test_streams_that_no_log_tells_of_are_counted() -> None:
    assert unaccounted(begun_and_ended(A), "x", 2) == ["1 of 2 streams have a first line"]
