"""The running streams of this process: started, stopped, waited for, drained. The only place in chat that makes tasks.

One registry belongs to one event loop. It gives a stream to exactly one task, and forgets it when that has ended.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog
from django.conf import settings

from chat import turns
from chat.exceptions import Overloaded, ShuttingDown
from chat.leases import Lease
from chat.models import Stream
from chat.prompt import PromptRequest
from chat.running_stream import STOP, RunningStream
from chat.stream_log import log_start
from chat.stream_state import UNFINISHED, EndReason, StreamState
from chat.threads import in_thread
from chat.turns import Accepted
from chat.upkeep import Upkeep
from events import bus
from events.bus import EventBus
from events.exceptions import StorageUnavailable
from events.log_transaction import LogTransaction

logger = structlog.get_logger(__name__)
T = TypeVar("T")

# Of the grace. The server's own patience ends with all of it, and the viewers and the bus, who come after, need the
# rest: even if the storage is away, so that neither the streams' ends nor the lease's can be stored.
_FINISHING, _ENDING, _RELEASING = 0.6, 0.2, 0.1


class Registry:
    def __init__(self, event_bus: EventBus) -> None:
        self.streams: dict[UUID, RunningStream] = {}
        self._of_session: dict[UUID, set[RunningStream]] = {}
        self.lease = Lease(self.streams)
        self._upkeep = Upkeep(self.lease)
        self._bus = event_bus
        self.accepting = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: set[asyncio.Task[Any]] = set()
        self._draining = self._ending = False

    @property
    def draining(self) -> bool:
        return self._draining

    def start(self) -> None:
        """Begins to vouch for this process, and ends what dead ones left. Idempotent; the first prompt does it too."""
        if not self._draining:
            self.lease.start()
            self._upkeep.start()

    async def answer(self, request: PromptRequest) -> Accepted:
        """Accepts the prompt and starts its stream; on return its first events are durable, unless it waits.

        Raises ShuttingDown, Overloaded, StorageUnavailable, and what `turns.accept` raises.
        """
        if self._draining or len(self.streams) + self.accepting >= settings.CHAT_MAX_STREAMS:
            refusal = ShuttingDown() if self._draining else Overloaded()
            # Who asks again starts nothing, and may be told at any time what there is.
            known = await in_thread(turns.repeated, request) if request.idempotency_key else None
            if known is None:
                raise refusal
            return known
        self.accepting += 1
        in_doubt = asyncio.get_running_loop().create_future()
        accepting = self._keep(self._accept(request, partial(in_doubt.set_result, None)))
        try:
            await asyncio.wait([accepting, in_doubt], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if request.on_disconnect == Stream.OnDisconnect.CANCEL:
                accepting.add_done_callback(self._abandon)
            raise
        if not accepting.done():  # who asked is told now; what turns out to be stored has its end all the same
            accepting.add_done_callback(self._abandon)
            raise StorageUnavailable
        return accepting.result()

    async def to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Whoever asks may leave at any moment; what must not be left half done is done nevertheless."""
        return await asyncio.shield(self._keep(work))

    async def stop(self, session_id: UUID, stream_id: UUID | None, reason: EndReason = EndReason.STOPPED) -> bool:
        """Stops one stream of the session, or all that are unfinished, whichever process runs them.

        False if there was nothing to stop any more. Durable when it returns; a running stream ends within moments.
        """

        def request_stop(log: LogTransaction) -> list[UUID]:
            return turns.request_stop(session_id, stream_id, reason)

        stream_ids = await self._bus.transaction(request_stop, gives_way=True)  # as prompts do: none is overtaken
        return self.tell_to_stop(session_id, stream_ids, reason)

    def tell_to_stop(self, session_id: UUID, stream_ids: Collection[UUID], reason: EndReason) -> bool:
        """Those here at once, those elsewhere through the session's group. False if all have come to their end."""
        elsewhere, stops = [], False
        for stream_id in stream_ids:
            if running := self.streams.get(stream_id):
                stops |= running.stop(reason)
            else:
                elsewhere.append(stream_id.hex)
        if elsewhere:
            self._bus.signal(session_id, STOP, " ".join([reason.value, *elsewhere]))
        return stops or bool(elsewhere)

    async def drain(self, grace_seconds: float) -> None:
        """Takes no more prompts; gives the running streams most of the grace to finish, then ends them `shutdown`.

        Leaves the last part of the grace to its caller, whatever fails.
        """
        self._draining = True
        logger.info("draining", streams=len(self.streams))
        await self._quiet(grace_seconds * _FINISHING)
        self._ending = True
        self._bus.ends.widen(len(self.streams))  # nobody's text has to be protected from these ends
        for running in list(self.streams.values()):
            running.stop(EndReason.SHUTDOWN)
        await self._quiet(grace_seconds * _ENDING)
        for task in self._tasks:
            logger.error("stream_left_behind", task=task.get_name())
            task.cancel()
        await self._upkeep.stop()
        try:
            async with asyncio.timeout(grace_seconds * _RELEASING):
                await self.lease.release()
        except TimeoutError:
            logger.warning("lease_not_released", err="the storage takes too long")  # others see that nobody renews it

    # --- inside ---

    def _keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._kept.add(task)
        task.add_done_callback(self._kept_to_the_end)
        return task

    def _kept_to_the_end(self, task: asyncio.Task[Any]) -> None:
        self._kept.discard(task)
        if not task.cancelled():
            task.exception()  # for whoever waits; if nobody does any more, asyncio need not log it

    async def _quiet(self, seconds: float) -> None:
        """Until nothing runs and nothing is being accepted, or the time is up."""
        try:
            async with asyncio.timeout(seconds):
                while busy := self._tasks | self._kept:
                    await asyncio.wait(busy)
        except TimeoutError:
            pass

    async def _accept(self, request: PromptRequest, on_doubt: Callable[[], None]) -> Accepted:
        try:
            lease_id = await self.lease.held()

            def accept(log: LogTransaction) -> Accepted:
                return turns.accept(log, request, lease_id)

            accepted = await self._bus.transaction(accept, on_doubt, gives_way=True)  # to those who stream already
            if not accepted.repeated:
                self._start(accepted)
        finally:
            self.accepting -= 1
        return accepted

    def _abandon(self, accepting: asyncio.Task[Accepted]) -> None:
        if accepting.cancelled() or accepting.exception() is not None:
            return
        accepted = accepting.result()
        if not accepted.repeated:
            self.tell_to_stop(accepted.stream.session_id, [accepted.stream.id], EndReason.DISCONNECTED)

    def _start(self, accepted: Accepted) -> None:
        stream = accepted.stream
        interrupts = stream.if_busy in (Stream.IfBusy.INTERRUPT, Stream.IfBusy.ROLLBACK)
        wait_seconds = settings.CHAT_INTERRUPT_WAIT_SECONDS if interrupts else None
        running = self.streams[stream.id] = RunningStream(self._bus, accepted, wait_seconds=wait_seconds)
        self._of_session.setdefault(stream.session_id, set()).add(running)
        log_start(stream)
        if interrupts and accepted.before:
            before = [other.id for other in accepted.before]
            self.tell_to_stop(stream.session_id, before, EndReason.INTERRUPTED)
        task = asyncio.get_running_loop().create_task(running.run(self.streams.__contains__), name=str(stream.id))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        if self._ending:
            running.stop(EndReason.SHUTDOWN)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        ended = self.streams.pop(UUID(task.get_name()))
        others = self._of_session[ended.session_id]
        others.discard(ended)
        for running in others:
            running.look_again()
        if not others:
            del self._of_session[ended.session_id]
        if not task.cancelled() and (error := task.exception()):
            logger.error("stream_task_failed", stream_id=task.get_name(), exc_info=error)


def running() -> list[StreamState]:
    """The states of the streams that the running loop's registry has, if there is one."""
    return [state for state in (each.state for each in running_here()) if state in UNFINISHED]


def running_here(stream_id: UUID | None = None) -> list[RunningStream]:
    """Those of the running loop's registry, if there is one; with `stream_id` that one, if it has it."""
    registry = _registries.get(asyncio.get_running_loop())
    if registry is None:
        return []
    if stream_id is None:
        return list(registry.streams.values())
    return [registry.streams[stream_id]] if stream_id in registry.streams else []


async def close_current(grace_seconds: float) -> None:
    """Drains the running loop's registry, if it has one."""
    if registry := _registries.get(asyncio.get_running_loop()):
        await registry.drain(grace_seconds)


_registries: WeakKeyDictionary[asyncio.AbstractEventLoop, Registry] = WeakKeyDictionary()


def current() -> Registry:
    """The running loop's registry."""
    loop = asyncio.get_running_loop()
    registry = _registries.get(loop)
    if registry is None:
        registry = _registries[loop] = Registry(bus.current())
    return registry
