"""The end of a stream, though the storage does not take it."""

import pytest

from chat import ending, turns
from events.exceptions import StorageUnavailable
from tests.chat.conftest import Logs
from tests.chat.conversation import Conversation


async def test_an_end_that_is_stored_at_the_fourth_try_is_told_once(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch, logs: Logs
) -> None:
    real, failures = turns.end, [StorageUnavailable() for _ in range(3)]

    def fails_at_first(*args: object, **options: object) -> object:
        if failures:
            raise failures.pop()
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(turns, "end", fails_at_first)
    monkeypatch.setattr(ending, "_STORE_AGAIN_SECONDS", 0.001)
    accepted = await talk.ask()
    assert await talk.end_of(accepted) == "storage_error"
    assert not failures
    told = [line["event"] for line in logs]
    for line in ("flush_on_end", "event_buffer_cleanup_error", "event_buffers_cleaned", "stream_end"):
        assert told.count(line) == 1, line


async def test_a_stream_whose_end_cannot_be_stored_as_it_is_still_ends(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch, logs: Logs
) -> None:
    real, fails = turns.end, iter([True])

    def fails_once(*args: object, **options: object) -> object:
        if next(fails, False):
            raise RuntimeError("this text cannot be stored")
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(turns, "end", fails_once)
    accepted = await talk.ask()
    assert await talk.end_of(accepted) == "storage_error"
    [line] = [line for line in logs if line["event"] == "event_buffer_cleanup_error"]
    assert line["trace"] == accepted.stream.trace_id.hex
    assert "this text cannot be stored" in line["err"]
    assert await talk.end_of(await talk.ask()) == "completed"
