"""Browsers that stay away for two weeks: their cookies expire (Django's sessions), and nobody can come for their rows.

Nor for the chats of the anonymous ones, whose owner is known by that cookie alone: they go too. Django deletes nothing
by itself, and every visitor who keeps no cookies leaves a row with each visit. `manage.py clearsessions` is not needed,
and would leave the chats behind, since it does not look whose row it deletes.
"""

from datetime import datetime
from uuid import UUID

from django.contrib.sessions.models import Session

from chat.callers import ANONYMOUS_ID
from chat.models import ChatSession
from events.log_transaction import LogTransaction


def forget(log: LogTransaction, now: datetime, count: int) -> int:
    """At most `count` that have expired by `now`, the oldest first; how many. Their chats go as by their owner."""
    expired = list(Session.objects.filter(expire_date__lt=now).order_by("expire_date")[:count])
    known = [UUID(text) for session in expired if (text := session.get_decoded().get(ANONYMOUS_ID))]
    ChatSession.objects.filter(anonymous_id__in=known, deleted_at=None).update(deleted_at=now)
    Session.objects.filter(session_key__in=[session.session_key for session in expired]).delete()
    return len(expired)
