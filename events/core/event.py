"""One entry of a session's log, and how its data becomes one line of text."""

import json
import re
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any, NamedTuple


class Event(NamedTuple):
    """`seq` counts 1, 2, 3 … without holes in its session; `data` is compact JSON, one line of valid text."""

    seq: int
    type: str
    data: str
    stream_id: str | None = None


_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_UNSTORABLE = re.compile(r"[\0\ud800-\udfff]")
_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
# A NUL has left the encoder as an escape; a pair of backslashes is consumed first, because what follows it is text.
_ESCAPED_NUL = re.compile(r"(\\\\)|\\u0000")
# NEL, LS and PS may stand in JSON, but readers that use str.splitlines() take them for the end of a line.
_UNSAFE = re.compile(r"[\ud800-\udfff\x85\u2028\u2029]")


def storable(text: str) -> str:
    """The text with NUL (PostgreSQL refuses it) and each surrogate (no valid UTF-8) as U+FFFD.

    Character by character, so that the pieces of a text, made storable and joined, equal the whole made storable.
    """
    if "\0" not in text:
        try:
            text.encode()  # a quarter of what the pattern takes, or less
        except UnicodeEncodeError:
            pass
        else:
            return text
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def encode_data(obj: Mapping[str, Any]) -> str:
    """Compact JSON in one line, whatever str.splitlines() or an SSE reader takes for a line; valid UTF-8, no NUL.

    Strings come back as `storable` makes them. Raises `ValueError` for NaN and infinities, `TypeError` for what is
    not JSON.
    """
    return _one_line(_to_json(dict(obj)))


def encode_text(text: str) -> str:
    """The JSON string that `encode_data` would make of it; cheaper, since no encoder is set up for one string."""
    return _one_line(encode_basestring(text))


def _one_line(text: str) -> str:
    if "\\u0000" in text:
        text = _ESCAPED_NUL.sub(lambda match: match[1] or _REPLACEMENT, text)
    if text.isascii():
        return text
    if not ("\x85" in text or "\u2028" in text or "\u2029" in text):
        try:
            text.encode()  # with the three looks above half of what the pattern takes, or less
        except UnicodeEncodeError:
            pass
        else:
            return text
    return _UNSAFE.sub(_safe, text)


def _safe(match: re.Match[str]) -> str:
    character = match[0]
    return _REPLACEMENT if 0xD800 <= ord(character) <= 0xDFFF else f"\\u{ord(character):04x}"
