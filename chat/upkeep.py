"""What grows is bounded: old events, deleted sessions, absent browsers and idempotency keys go, a few at a time.

Of all processes the one whose lease comes first does it. That is only thrift: twice does no harm.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from chat.absent_browsers import forget
from chat.clock_watch import ClockWatch
from chat.leases import Lease
from chat.models import ChatSession, IdempotencyKey, Message, Stream
from chat.models import Lease as StoredLease
from chat.stream_state import UNFINISHED
from chat.threads import in_thread
from events import bus, retention
from events.exceptions import EventsError
from events.log_transaction import LogTransaction

logger = structlog.get_logger(__name__)

PURGE_AFTER_SECONDS = 60.0  # viewers have been told by then; ten minutes are promised
IDEMPOTENCY_SECONDS = 24 * 3600.0
_ROWS_PER_TRANSACTION = 200


class Upkeep:
    """The task of one process, which begins with its lease."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._clock = ClockWatch(time.time(), time.monotonic())
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Idempotent."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(settings.CHAT_UPKEEP_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311  (not all at once)
            try:
                now = timezone.now()
                if self._is_steady(now) and await in_thread(_first_lease) == await self._lease.held():
                    await tidy(now)
            except (EventsError, DatabaseError, InterfaceError) as error:
                logger.warning("upkeep_put_off", err=repr(error))
            except Exception:
                logger.exception("upkeep_failed")

    def _is_steady(self, now: datetime) -> bool:
        steady = self._clock.is_steady(now.timestamp(), time.monotonic())
        if jumped := self._clock.jumped_seconds:
            logger.warning("upkeep_put_off", err=f"the wall clock jumped by {jumped:.0f} s: it may be set right again")
        return steady


async def tidy(now: datetime) -> Counter[str]:
    """Once through everything; how many of what are gone. What is old is so at `now`: the clock may jump meanwhile."""
    started = time.monotonic()
    gone: Counter[str] = Counter()
    gone["events"] += await _prune(now)
    gone["browsers"] += await _repeat(lambda log: forget(log, now, _ROWS_PER_TRANSACTION))
    for session_id in await in_thread(_purgeable, now):
        gone["events"] += await _delete_events(session_id, None)
        gone["messages"] += await _repeat(partial(_delete_messages, session_id))
        gone["sessions"] += await bus.current().transaction(partial(_delete_session, session_id))
    gone["idempotency_keys"] += await _repeat(partial(_delete_idempotency_keys, now))
    if any(gone.values()):
        logger.info("upkeep_done", seconds=round(time.monotonic() - started, 3), **gone)
    return gone


async def _prune(now: datetime) -> int:
    pruned = 0
    after: UUID | None = None
    while logs := await in_thread(retention.stored_logs, after):
        after = logs[-1].session_id
        for log in logs:
            first_kept = await in_thread(_first_kept, log, now)
            if first_kept > log.oldest:
                pruned += await _delete_events(log.session_id, first_kept)
                if first_kept > log.head and not await in_thread(_exists, log.session_id):
                    await bus.current().transaction(partial(retention.delete_head, session_id=log.session_id))
    return pruned


async def _delete_events(session_id: UUID, before: int | None) -> int:
    seq = 2**62 if before is None else before
    return await _repeat(lambda log: retention.delete_before(log, session_id, seq))


async def _repeat(work: Callable[[LogTransaction], int]) -> int:
    """Small transactions, between which everybody else writes, until there is nothing more to do."""
    total = 0
    while count := await bus.current().transaction(work):
        total += count
    return total


# --- on a thread ---


def _first_lease() -> UUID | None:
    return StoredLease.objects.order_by("id").values_list("id", flat=True).first()


def _first_kept(log: retention.StoredLog, now: datetime) -> int:
    unfinished = Stream.objects.filter(session_id=log.session_id, state__in=UNFINISHED).values_list("id", flat=True)
    return retention.first_kept(log, list(unfinished), now.timestamp())


def _exists(session_id: UUID) -> bool:
    """If not, it was deleted with its user, and its last event has told that to its viewers."""
    return ChatSession.objects.filter(id=session_id).exists()


def _purgeable(now: datetime) -> list[UUID]:
    """Sessions that were deleted, and whose streams have all ended."""
    until = now - timedelta(seconds=min(PURGE_AFTER_SECONDS, settings.EVENTS_RETENTION_SECONDS))
    deleted = ChatSession.objects.filter(deleted_at__lt=until)
    busy = Stream.objects.filter(session__in=deleted, state__in=UNFINISHED).values("session_id")
    return list(deleted.exclude(id__in=busy).values_list("id", flat=True)[:_ROWS_PER_TRANSACTION])


# --- in a transaction ---


def _delete_messages(session_id: UUID, log: LogTransaction) -> int:
    """With their streams and idempotency keys."""
    positions = Message.objects.filter(session_id=session_id).order_by("position").values_list("position", flat=True)
    part = list(positions[:_ROWS_PER_TRANSACTION])
    if not part:
        return 0
    Stream.objects.filter(session_id=session_id, turn__lte=part[-1] // 2).delete()
    Message.objects.filter(session_id=session_id, position__lte=part[-1]).delete()
    return len(part)


def _delete_session(session_id: UUID, log: LogTransaction) -> int:
    retention.delete_head(log, session_id)
    ChatSession.objects.filter(id=session_id).delete()
    return 1


def _delete_idempotency_keys(now: datetime, log: LogTransaction) -> int:
    until = now - timedelta(seconds=IDEMPOTENCY_SECONDS)
    old = IdempotencyKey.objects.filter(created_at__lt=until).values_list("id", flat=True)[:_ROWS_PER_TRANSACTION]
    return IdempotencyKey.objects.filter(id__in=list(old)).delete()[0]
