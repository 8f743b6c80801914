"""What the streaming endpoints decide by themselves; the rest is asked of a real server in `tests/live`."""

import json
from uuid import UUID, uuid4

from chat.consumers import Prompt, SessionEvents
from chat.ending import STORAGE_ERROR
from events.core.event import Event
from events.groups import Signal


def storage_error(stream_id: UUID) -> Signal:
    return Signal(STORAGE_ERROR, json.dumps({"stream_id": str(stream_id), "code": "storage_error"}))


def test_an_error_that_cannot_be_stored_is_told_without_an_id() -> None:
    frame = SessionEvents().on_signal(storage_error(uuid4()))
    assert frame is not None
    assert frame.startswith(b"event: chat.error\ndata: ")
    assert SessionEvents().on_signal(Signal("stop", "")) is None


def test_who_asked_hears_of_its_own_stream_only() -> None:
    prompt, stream_id = Prompt(), uuid4()
    prompt.stream_hex = stream_id.hex
    assert prompt.on_signal(storage_error(stream_id)) is not None
    assert prompt.on_signal(storage_error(uuid4())) is None


def test_a_session_that_another_version_tells_less_of_is_not_deleted() -> None:
    assert not SessionEvents().is_last(Event(1, "chat.session", '{"title":"x"}', None))
    assert SessionEvents().is_last(Event(1, "chat.session", '{"deleted":true}', None))
