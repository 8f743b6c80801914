"""Reads log lines back, by the rules that `jarvis_site/log_format.py` states."""

import json
import re

_PAIR = re.compile(r'([A-Za-z0-9_.-]+)=("(?:[^"\\]|\\.)*"|[^\s"=\\]+)')
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s"=\\]+')
_ESCAPE = re.compile(r'\\(U[0-9a-f]{8}|u[0-9a-f]{4}|["\\nrt])')


def parse(line: str) -> tuple[str, str, str, dict[str, str]]:
    """Timestamp, level, event and pairs of one line; fails for any other text."""
    timestamp, level, rest = line.split(" ", 2)
    word = _WORD.match(rest)
    assert word, line
    pairs, position = {}, word.end()
    while position < len(rest):
        pair = _PAIR.match(rest, position + 1)
        assert pair, rest[position:]
        assert rest[position] == " "
        pairs[pair[1]] = _value(pair[2])
        position = pair.end()
    return timestamp, level, _value(word[0]), pairs


def _value(text: str) -> str:
    return _ESCAPE.sub(_character, text[1:-1]) if text.startswith('"') else text


def _character(match: re.Match[str]) -> str:
    code: str = match[1]
    return chr(int(code[1:], 16)) if code[0] in "uU" else str(json.loads(f'"\\{code}"'))
