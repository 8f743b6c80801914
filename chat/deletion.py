"""What goes with a session whose rows are deleted, as they are with their user: its streams end, its viewers are told.

Who deletes a chat in the page only hides it at first (`sessions.py`); then nothing is left to do here.
"""

from collections.abc import Collection
from functools import partial
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.db import transaction
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from chat import registry, turns, wire
from chat.models import ChatSession, Stream
from chat.stream_log import log_end
from chat.stream_state import UNFINISHED, EndReason
from chat.turns import Outcome
from events import bus
from events.log_transaction import LogTransaction
from events.log_writing import Committed


@receiver(pre_delete, sender=ChatSession)
def _end(sender: Any, instance: ChatSession, **_: Any) -> None:
    """In the transaction that deletes. The log outlives the rows until its viewers have read it (`upkeep.py`)."""
    log = LogTransaction()
    ended = []
    for stream in Stream.objects.filter(session=instance, state__in=UNFINISHED).order_by("turn"):
        if its_end := turns.end(log, stream.id, Outcome(EndReason.STOPPED), force=True):
            ended.append(its_end)
    if instance.deleted_at is None:
        log.append(instance.id, wire.session(instance.title, deleted=True))
    if ended:  # whoever only watches looks at the log every two seconds
        transaction.on_commit(partial(_ended, instance.id, ended, log.committed), robust=True)


def _ended(session_id: UUID, ended: Collection[Stream], committed: Committed) -> None:
    for stream in ended:
        log_end(stream)
    async_to_sync(_tell)(session_id, [stream.id for stream in ended], committed)


async def _tell(session_id: UUID, stream_ids: Collection[UUID], committed: Committed) -> None:
    async with bus.for_this_call() as here:
        here.hub.announce(committed)
        streams = registry.current() if bus.exists() else registry.Registry(here)
        streams.tell_to_stop(session_id, stream_ids, EndReason.STOPPED)
