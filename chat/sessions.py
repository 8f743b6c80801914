"""What is done to a session as a whole, and told to all its viewers."""

import asyncio
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from chat import registry, turns, wire
from chat.exceptions import NotFound
from chat.models import ChatSession, Stream
from chat.stream_state import UNFINISHED, EndReason
from chat.threads import in_thread
from events import bus
from events.log_transaction import LogTransaction

_LOOK_AGAIN_SECONDS = 0.02


async def rename(session_id: UUID, title: str) -> None:
    """The new title, stored and told in one transaction. Raises NotFound."""

    def work(log: LogTransaction) -> None:
        if not ChatSession.objects.filter(id=session_id, deleted_at=None).update(title=title):
            raise NotFound
        log.append(session_id, wire.session(title))

    await bus.current().transaction(work)


async def delete(session_id: UUID) -> None:
    """Gone at once for every request; its streams are stopped; then viewers are told, and their responses end.

    Raises NotFound. Whoever asked may leave. The rows are purged later (`upkeep.py`).
    """
    await registry.current().to_the_end(_delete(session_id))


async def _delete(session_id: UUID) -> None:

    def hide(log: LogTransaction) -> list[UUID]:
        if not ChatSession.objects.filter(id=session_id, deleted_at=None).update(deleted_at=timezone.now()):
            raise NotFound
        return turns.request_stop(session_id, None, EndReason.STOPPED)

    def tell(log: LogTransaction) -> None:
        title = ChatSession.objects.values_list("title", flat=True).get(id=session_id)
        log.append(session_id, wire.session(title, deleted=True))

    stream_ids = await bus.current().transaction(hide)
    registry.current().tell_to_stop(session_id, stream_ids, EndReason.STOPPED)
    try:
        async with asyncio.timeout(settings.CHAT_INTERRUPT_WAIT_SECONDS):
            while await in_thread(_runs, session_id):  # noqa: ASYNC110  (it may run in another process)
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    except TimeoutError:
        pass  # it ends when it can; who reads it sees the session's end first
    await bus.current().transaction(tell)


def _runs(session_id: UUID) -> bool:
    return Stream.objects.filter(session_id=session_id, state__in=UNFINISHED).exists()
