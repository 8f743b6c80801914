"""The newest messages of a session that viewers know of, as many as anybody can use: what is older is not even read."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from chat.models import Message
from chat.rows import read
from events.statements import fetch, key_of

MAX_MESSAGES = 200
_TOLD = "session_id = %s AND seq IS NOT NULL AND position <= %s"
_NEWEST_FIRST = f"ORDER BY position DESC LIMIT {MAX_MESSAGES}"
LAST: Final = 2**62  # no position is greater


def newest(session_id: UUID, characters: int, last: int = LAST) -> list[Message]:
    """Those up to the position `last`, newest first, at most `MAX_MESSAGES`; without the turns before `characters`."""
    first = _first(session_id, characters, last)
    return read(Message, f"{_TOLD} AND position >= %s {_NEWEST_FIRST}", session_id, last, first)


def newest_texts(session_id: UUID, characters: int, last: int = LAST) -> list[tuple[str, str]]:
    """As `newest`, but only role and text: 200 objects would cost 2 ms."""
    first = _first(session_id, characters, last)
    return [(role, text) for role, text in _select("role, text", "AND position >= %s", session_id, last, first)]


def _first(session_id: UUID, characters: int, last: int) -> int:
    """200 messages may have 200 MB. The database counts them where they are; here they would be in memory twice."""
    first = 0
    for position, length in _select("position, LENGTH(text)", "", session_id, last):
        if characters <= 0:
            break
        first = position - position % 2  # its turn's prompt
        characters -= length
    return first


def _select(columns: str, condition: str, session_id: UUID, *positions: int) -> list[Sequence[Any]]:
    query = f"SELECT {columns} FROM chat_message WHERE {_TOLD} {condition} {_NEWEST_FIRST}"  # noqa: S608
    return fetch(query, [key_of(session_id), *positions])
