"""Log lines: one line an entry and one pair a field, whatever a client has put into the values."""

import json
import logging
import re
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

_MAX_CHARACTERS = 16_000  # of one value; the end of a traceback says most, so the beginning goes
_WORD_CHARACTERS = 40  # what is longer is seldom said twice
_BARE = re.compile(r'[^\s"=\\]+')
_PLAIN = re.compile(r"[0-9a-f.-]{1,40}")  # ids and numbers: needs no quotes, and can be no secret
_SPECIAL = re.compile(r'["\\]|[^\x20-\x7e]')
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# API keys (ours, OpenAI's, any bearer's), and the password in an address.
_SECRET = re.compile(r"\b(jv-|sk-|bearer\s+)[\w.~+/=-]{8,}|(?<=://)([^/\s:@]*:)[^/\s@]+(?=@)", re.IGNORECASE)


class Render(Protocol):
    def __call__(self, timestamp: str, level: str, event: str, fields: Mapping[str, Any]) -> str: ...


def logfmt_line(timestamp: str, level: str, event: str, fields: Mapping[str, Any]) -> str:
    """`timestamp level event key=value key="value with spaces"`; escapes as in JSON, `True` and `None` bare."""
    pairs = [f"{_key(key)}={_value(value)}" for key, value in fields.items()]
    return " ".join((timestamp, level, _value(event), *pairs))


def json_line(timestamp: str, level: str, event: str, fields: Mapping[str, Any]) -> str:
    """The same as a JSON object; numbers, booleans and null keep their types."""
    plain = {key: v if v is None or isinstance(v, int | float) else _text(v) for key, v in fields.items()}
    return json.dumps({"timestamp": timestamp, "level": level, "event": _text(event), **plain})


class Line(NamedTuple):
    """What one of our own loggers was told: `event`, perhaps `exc_info` (its tuple), and the fields of the line."""

    created: float  # seconds since the epoch
    level: str
    fields: dict[str, Any]


class LineFormatter:
    """Renders what our own loggers were told, or the standard library's; of the latter the name is the event."""

    def __init__(self, render: Render) -> None:
        self._render = render

    def format(self, line: Line | logging.LogRecord) -> str:
        if isinstance(line, logging.LogRecord):
            fields: dict[str, Any] = {"event": line.name, "message": line.getMessage(), "exc_info": line.exc_info}
            if line.stack_info:
                fields["stack_info"] = line.stack_info
            line = Line(line.created, line.levelname.lower(), fields)
        fields = dict(line.fields)
        event = fields.pop("event")
        if exc_info := fields.pop("exc_info", None):
            fields["exception"] = "".join(traceback.format_exception(*exc_info))
        timestamp = datetime.fromtimestamp(line.created, UTC).isoformat(timespec="microseconds")
        return self._render(f"{timestamp.removesuffix('+00:00')}Z", line.level, event, fields)


@lru_cache(maxsize=256)  # a program has some dozen
def _key(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", key)


def _value(value: object) -> str:
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    return _word(text) if len(text) < _WORD_CHARACTERS else _quoted(_text(text))


@lru_cache(maxsize=1024)  # names of events, reasons, states: a program has some hundred
def _word(text: str) -> str:
    return _quoted(_text(text))


def _text(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    if len(text) > _MAX_CHARACTERS:
        text = f"…{text[-_MAX_CHARACTERS:]}"
    return _SECRET.sub(lambda match: f"{match[1] or match[2]}***", text)


def _quoted(text: str) -> str:
    if _BARE.fullmatch(text) and text.isprintable():
        return text
    return f'"{_SPECIAL.sub(_escaped, text)}"'


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
