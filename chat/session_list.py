"""A caller's sessions, newest activity first, page by page."""

import base64
import binascii
import struct
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, Exists, OuterRef, Q, QuerySet
from django.urls import reverse

from chat.callers import Caller
from chat.exceptions import InvalidRequest
from chat.models import ChatSession, Message, Stream
from chat.stream_state import ACTIVE

PAGE_SIZE = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CURSOR = struct.Struct(">q16s")  # activity in microseconds since the epoch, then the id, which breaks ties


def list_sessions(caller: Caller, search: str = "", before: str = "") -> dict[str, Any]:
    """One page: `sessions`, and `next`, the cursor of the page after it or None.

    `search` looks into titles and messages. A session that is used meanwhile moves to the first page; no other one is
    repeated or left out.
    """
    sessions = with_activity(caller.sessions())
    if search:
        said = Message.objects.filter(session=OuterRef("pk"), text__icontains=search)
        sessions = sessions.filter(Q(title__icontains=search) | Exists(said))
    if before:
        active_at, session_id = _decode(before)
        sessions = sessions.filter(Q(active_at__lt=active_at) | Q(active_at=active_at, id__lt=session_id))
    found = list(sessions.order_by("-active_at", "-id")[: PAGE_SIZE + 1])
    page = found[:PAGE_SIZE]
    return {
        "sessions": [summary(session) for session in page],
        "next": _encode(page[-1]) if len(found) > PAGE_SIZE else None,
    }


def with_activity(sessions: QuerySet[ChatSession]) -> QuerySet[ChatSession]:
    """With `active`: whether a stream runs in it."""
    running = Stream.objects.filter(session=OuterRef("pk"), state__in=ACTIVE)
    return sessions.annotate(active=Exists(running, output_field=BooleanField()))


def summary(session: ChatSession) -> dict[str, Any]:
    """What the API says of a session without looking into it."""
    return {
        "id": session.id,
        "title": session.title,
        "created_at": session.created_at,
        "active_at": session.active_at,
        "url": reverse("session", args=[session.id]),
        "active": getattr(session, "active", False),
    }


def _encode(session: ChatSession) -> str:
    packed = _CURSOR.pack((session.active_at - _EPOCH) // _MICROSECOND, session.id.bytes)
    return base64.urlsafe_b64encode(packed).decode()


def _decode(cursor: str) -> tuple[datetime, UUID]:
    try:
        microseconds, session_id = _CURSOR.unpack(base64.b64decode(cursor, altchars=b"-_", validate=True))
        return _EPOCH + microseconds * _MICROSECOND, UUID(bytes=session_id)
    except (ValueError, binascii.Error, struct.error, OverflowError):
        raise InvalidRequest("Send the `next` of the page before as it is.", field="before") from None
