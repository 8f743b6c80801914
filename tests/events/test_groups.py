"""Events and signals as layer messages, and back."""

from typing import Any
from uuid import uuid4

import pytest

from events.core.event import Event
from events.groups import Signal, event_message, parse, signal_message

SESSION = uuid4()
MESSAGE: dict[str, Any] = dict(event_message(SESSION, Event(17, "chat.token", '{"text":"a"}', uuid4().hex)))


def test_an_event_comes_back_as_it_was_sent() -> None:
    for event in (Event(17, "chat.token", '{"text":"a"}', uuid4().hex), Event(1, "chat.session", "{}")):
        assert parse(dict(event_message(SESSION, event))) == (SESSION.hex, event)


def test_a_signal_comes_back_as_a_signal() -> None:
    parsed = parse(dict(signal_message(SESSION, Signal("stop", "stopped a b"))))
    assert parsed == (SESSION.hex, Signal("stop", "stopped a b"))
    assert isinstance(parsed[1], Signal)


def test_an_older_version_does_not_say_who_sends() -> None:
    older = {name: value for name, value in MESSAGE.items() if name != "sender"}
    assert parse(older) == parse(MESSAGE)


@pytest.mark.parametrize("field", sorted(MESSAGE.keys() - {"sender"}))
def test_what_lacks_a_field_or_has_another_type_in_it_is_not_understood(field: str) -> None:
    assert parse({name: value for name, value in MESSAGE.items() if name != field}) is None
    assert parse({**MESSAGE, field: b"other"}) is None
