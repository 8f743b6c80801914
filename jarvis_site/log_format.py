"""Log lines: one line an entry and one pair a field, whatever a client has put into the values."""

import json
import logging
import re
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict

_MAX_CHARACTERS = 16_000  # of one value; the end of a traceback says most, so the beginning goes
_BARE = re.compile(r'[^\s"=\\]+')
_SPECIAL = re.compile(r'["\\]|[^\x20-\x7e]')
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# API keys (ours, OpenAI's, any bearer's), and the password in an address.
_SECRET = re.compile(r"\b(jv-|sk-|bearer\s+)[\w.~+/=-]{8,}|(?<=://)([^/\s:@]*:)[^/\s@]+(?=@)", re.IGNORECASE)


class Render(Protocol):
    def __call__(self, timestamp: str, level: str, event: str, fields: Mapping[str, Any]) -> str: ...


def logfmt_line(timestamp: str, level: str, event: str, fields: Mapping[str, Any]) -> str:
    """`timestamp level event key=value key="value with spaces"`; escapes as in JSON, `True` and `None` bare."""
    pairs = (f"{re.sub(r'[^A-Za-z0-9_.-]', '_', key)}={_quoted(_text(value))}" for key, value in fields.items())
    return " ".join((timestamp, level, _quoted(_text(event)), *pairs))


def json_line(timestamp: str, level: str, event: str, fields: Mapping[str, Any]) -> str:
    """The same as a JSON object; numbers, booleans and null keep their types."""
    plain = {key: v if v is None or isinstance(v, int | float) else _text(v) for key, v in fields.items()}
    return json.dumps({"timestamp": timestamp, "level": level, "event": _text(event), **plain})


class LineFormatter(ProcessorFormatter):
    """Renders a record once, from structlog or from the standard library, for all handlers."""

    def __init__(self, render: Render) -> None:
        super().__init__(processors=[self._line])
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        line: str | None = record.__dict__.get("rendered_line")
        if line is None:
            line = record.__dict__["rendered_line"] = super().format(record)
        return line

    def _line(self, logger: Any, method: str, fields: EventDict) -> str:
        record: logging.LogRecord = fields.pop("_record")
        event = fields.pop("event")
        if not fields.pop("_from_structlog"):
            event, fields = record.name, {"message": event, **fields}
        if exc_info := fields.pop("exc_info", None):
            fields["exception"] = "".join(traceback.format_exception(*exc_info))
        timestamp = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return self._render(timestamp, record.levelname.lower(), event, fields)


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
