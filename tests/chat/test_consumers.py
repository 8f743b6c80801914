"""What the streaming endpoints decide by themselves; the rest is asked of a real server in `tests/live`."""

import json
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError, ProgrammingError

from chat import consumers
from chat.callers import Caller
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


class Asked(SessionEvents):
    """Keeps its refusal."""

    scope: Any = {"method": "GET", "url_route": {"kwargs": {"session_id": uuid4()}}}
    caller = Caller(1, None, "key")
    status = 0

    async def send_json(self, status: int, data: dict[str, Any], headers: dict[str, str]) -> None:
        self.status = status


async def raises(error: Exception, *_: object) -> None:
    raise error


@pytest.mark.parametrize("error", [OperationalError(), InterfaceError()])
async def test_a_database_that_is_busy_or_away_is_told_so_and_asked_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(consumers, "in_thread", partial(raises, error))
    asked = Asked()
    await asked.respond(b"")
    assert asked.status == 503
    assert await asked.allowed()


@pytest.mark.parametrize("error", [ProgrammingError(), IntegrityError()])
async def test_other_errors_of_the_database_are_defects(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(consumers, "in_thread", partial(raises, error))
    asked = Asked()
    with pytest.raises(type(error)):
        await asked.respond(b"")
    with pytest.raises(type(error)):
        await asked.allowed()
