"""Processes vouch for their streams, and end what the dead left. No clocks are compared.

Each process raises the counter of its own row every 2 s, and looks at those of the others. A counter that has not
moved for 6 s of the observer's own monotonic time, while the observer's own renewals went well, belongs to a dead
process; so does one whose process is gone from this very host. Its streams end with `worker_lost`, their text as
viewers saw it; should it wake up, the log refuses its writes. The 2 s are from renewal to renewal, whatever one costs:
else a storage that is slow, but works, would make the dead live longer.

A living process compares too, with each renewal: what the database says it runs, and what it does run.
"""

import asyncio
import os
import socket
from collections.abc import Collection, Mapping, Set
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import structlog
from django.db.models import QuerySet

from chat import models, turns
from chat.running_stream import RunningStream
from chat.stream_log import log_end
from chat.stream_state import UNFINISHED, EndReason
from chat.turns import Outcome
from events import bus
from events.all_rows import all_rows
from events.exceptions import EventsError
from events.log_transaction import LogTransaction
from events.statements import fetch, id_of, key_of, run
from events.timers import EARLY_SECONDS

logger = structlog.get_logger(__name__)

RENEW_SECONDS = 2.0
DEAD_SECONDS = 6.0
_LOST = "The server process that was answering has gone. What it had written is kept; ask again."


class Renewal(NamedTuple):
    """`unfinished`: this process's streams, each with the reason for which it is to stop, or ""."""

    unfinished: dict[UUID, str]
    counters: dict[UUID, int]  # of the other leases


class Lease:
    """This process's lease: taken with its first viewer or prompt, unless it is started before."""

    def __init__(self, streams: Mapping[UUID, RunningStream]) -> None:
        self._streams = streams
        self._id: UUID | None = None
        self._seen: dict[UUID, tuple[int, float]] = {}  # counter of another, and since when it stands there
        self._missed: set[UUID] = set()  # in the database or here, but not in both, at the last renewal
        self._looked = self._renewed = 0.0
        self._task: asyncio.Task[None] | None = None
        self._taking = asyncio.Lock()

    def start(self) -> None:
        """Begins to vouch; at once ends what processes that are gone from this host left. Idempotent."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._vouch())

    async def held(self) -> UUID:
        """The lease's id, known to be alive a moment ago, once what dead predecessors left is ended."""
        self.start()
        async with self._taking:
            if self._id is None:
                await self._take()
            elif asyncio.get_running_loop().time() - self._renewed > DEAD_SECONDS / 2:
                await self._renew()  # this process slept: others may have taken it for dead
            assert self._id is not None
            return self._id

    async def release(self) -> None:
        """Stops vouching; nothing of this process runs any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._id is not None:
            try:
                await bus.current().transaction(partial(_release, self._id))
            except EventsError as error:
                logger.warning("lease_not_released", err=repr(error))  # others will see that nobody renews it
            self._id = None

    async def _take(self) -> None:
        self._id = await bus.current().transaction(_take)
        self._renewed = asyncio.get_running_loop().time()
        try:
            await self._end_what_is_left(await bus.current().transaction(_gone))
        except EventsError as error:
            logger.warning("predecessors_not_ended", err=repr(error))  # their counters stand still, which is seen too

    async def _vouch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                if self._id is None:
                    await self.held()
                else:
                    async with self._taking:
                        await self._renew()
            except EventsError as error:
                self._seen.clear()  # who could not look cannot say that others stood still
                logger.warning("lease_not_renewed", err=repr(error))
            except Exception:
                self._seen.clear()
                logger.exception("lease_not_renewed")
            await asyncio.sleep(max(0.0, began + RENEW_SECONDS - loop.time()))

    async def _renew(self) -> None:
        assert self._id is not None
        asked = asyncio.get_running_loop().time()
        renewal = await bus.current().transaction(partial(_renew, self._id))
        answered = asyncio.get_running_loop().time()
        self._renewed = asked
        if renewal is None:
            await self._declared_dead()
            return
        for stream_id, reason in renewal.unfinished.items():
            if reason and (running := self._streams.get(stream_id)):
                running.stop(EndReason(reason))
        await self._end_strays(renewal.unfinished.keys())
        await self._end_what_is_left(self._dead(renewal.counters, asked, answered))

    async def _end_strays(self, stored: Set[UUID]) -> None:
        """Streams that are unfinished in the database alone, or here alone, at two renewals running: one may be chance.

        A prompt is accepted, or an end stored, a moment before this process knows of it. But a commit may have been
        taken for failed, an end may have failed for good, and whoever deletes rows may reach nobody here.
        """
        missed = stored ^ self._streams.keys()
        strays, self._missed = missed & self._missed, missed
        for stream_id in strays & self._streams.keys():
            self._streams[stream_id].stop(EndReason.INTERRUPTED)
        if here_no_more := strays & stored:
            for stream in await bus.current().transaction(partial(_end_strays, here_no_more)):
                log_end(stream)
            logger.error("streams_lost", streams=len(here_no_more))

    def _dead(self, counters: dict[UUID, int], asked: float, answered: float) -> list[UUID]:
        """Those that stood still from question to question, which are evenly apart; the answers are not."""
        slept, waited = asked - self._looked, answered - asked
        self._looked = asyncio.get_running_loop().time()
        if max(slept, waited) > DEAD_SECONDS / 2:
            self._seen.clear()  # who was stopped himself cannot say it either: all may have been, together
        if waited > DEAD_SECONDS / 2:
            return []  # nor since when
        seen = {}
        for lease_id, counter in counters.items():
            before = self._seen.get(lease_id)
            seen[lease_id] = before if before is not None and before[0] == counter else (counter, asked)
        self._seen = seen
        return [lease_id for lease_id, (_, since) in seen.items() if asked - since >= DEAD_SECONDS - EARLY_SECONDS]

    async def _end_what_is_left(self, lease_ids: list[UUID]) -> None:
        for lease_id in lease_ids:
            for stream in await bus.current().transaction(partial(_end_all, lease_id)):
                log_end(stream)
            logger.warning("process_lost", lease=str(lease_id))

    async def _declared_dead(self) -> None:
        """Others saw no renewal for long (this process was stopped, say), and have ended its streams."""
        logger.warning("lease_lost", lease=str(self._id), streams=len(self._streams))
        self._id = await bus.current().transaction(_take)
        self._missed = set()
        for running in list(self._streams.values()):
            running.stop(EndReason.INTERRUPTED)


def process_ticks(pid: int) -> int:
    """When the process started, in clock ticks since its host did; 0 if none runs (any more). Linux's /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])  # dead, but its parent has not looked yet


# --- transactions ---


def _take(log: LogTransaction) -> UUID:
    pid = os.getpid()
    lease = models.Lease.objects.create(id=uuid4(), host=_host(), pid=pid, started_ticks=process_ticks(pid))
    return lease.id


def _release(lease_id: UUID, log: LogTransaction) -> None:
    if not models.Stream.objects.filter(lease_id=lease_id, state__in=UNFINISHED).exists():
        models.Lease.objects.filter(id=lease_id).delete()


def _renew(lease_id: UUID, log: LogTransaction) -> Renewal | None:
    key = key_of(lease_id)
    if not run("UPDATE chat_lease SET counter = counter + 1 WHERE id = %s", [key]):
        return None
    marks = ", ".join(["%s"] * len(UNFINISHED))
    unfinished = all_rows(
        "id, stop_requested", f"FROM chat_stream WHERE lease_id = %s AND state IN ({marks})", [key, *UNFINISHED]
    )
    others = fetch("SELECT id, counter FROM chat_lease WHERE id <> %s", [key])
    return Renewal({id_of(id): reason for id, reason in unfinished}, {id_of(id): counter for id, counter in others})


def _gone(log: LogTransaction) -> list[UUID]:
    """Leases of processes that ran on this host and are there no more."""
    here = models.Lease.objects.filter(host=_host()).exclude(pid=os.getpid(), started_ticks=process_ticks(os.getpid()))
    return [lease.id for lease in here if process_ticks(lease.pid) != lease.started_ticks]


def _end_all(lease_id: UUID, log: LogTransaction) -> list[models.Stream]:
    ended = _end_lost(_unfinished().filter(lease_id=lease_id), log)
    models.Lease.objects.filter(id=lease_id).delete()
    return ended


def _end_strays(stream_ids: Collection[UUID], log: LogTransaction) -> list[models.Stream]:
    return _end_lost(_unfinished().filter(id__in=stream_ids), log)


def _end_lost(left: QuerySet[models.Stream], log: LogTransaction) -> list[models.Stream]:
    lost = Outcome(EndReason.WORKER_LOST, _LOST, retryable=True)
    ended = [turns.end(log, stream.id, lost, force=True) for stream in left]
    return [stream for stream in ended if stream is not None]


def _unfinished() -> QuerySet[models.Stream]:
    """In the order in which they may end."""
    return models.Stream.objects.filter(state__in=UNFINISHED).order_by("session_id", "turn")


def _host() -> str:
    """This machine, as long as it is up: another may have its name, and a container's process ids mean nothing outside.

    The namespace does not tell machines apart: the first one has the same number on every Linux.
    """
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()}:{boot_id}:{os.stat('/proc/self/ns/pid').st_ino}"
