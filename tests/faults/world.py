"""One process, and its viewers, for a test that holds the model and the storage in its hand."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from django.db import OperationalError

from chat import providers, registry
from chat.providers.base import NO_REST, Finish, ModelRequest, Rest
from chat.stream_state import EndReason
from events import bus
from events.log_writing import Committed, Job, commit
from events.viewer import Lost
from tests.history import Seen

T = TypeVar("T")


@dataclass(eq=False)
class Reader:
    """A viewer and all that it was given, over all its connections."""

    session_id: UUID
    after: int | None
    seen: list[Seen] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    @property
    def cursor(self) -> int:
        return max((seen.seq for seen in self.seen if seen.seq is not None), default=self.after or 0)

    def resume(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self._read())

    async def drop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.task = None

    async def _read(self) -> None:
        viewer = bus.current().viewer(self.session_id, self.cursor)
        try:
            await viewer.join()
            while True:
                delivered = await viewer.next()
                assert not isinstance(delivered, Lost)
                self.seen += [Seen(event.seq, event.type, json.loads(event.data)) for event, _ in delivered]
        finally:
            viewer.leave()


class ModelInHand:
    """A provider that says what it is told to."""

    name = "in hand"

    def __init__(self) -> None:
        self.said: defaultdict[str, asyncio.Queue[str]] = defaultdict(asyncio.Queue)

    async def models(self) -> list[str]:
        return []

    async def stream(self, request: ModelRequest, rest: Rest = NO_REST) -> AsyncGenerator[list[str] | Finish, None]:
        said = self.said[request.messages[-1].content]
        rest.reads(lambda: _take_texts(said))
        while text := await said.get():
            yield [text]
        yield Finish(EndReason.COMPLETED, None, None)

    async def aclose(self) -> None:
        """Nothing is open."""


def _take_texts(said: asyncio.Queue[str]) -> list[str]:
    """What has been said, up to the end of the answer."""
    texts: list[str] = []
    while said._queue and said._queue[0]:  # type: ignore[attr-defined]
        texts.append(said.get_nowait())
    return texts


class World:
    """One process, for all examples."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner, self.model, self.away = runner, ModelInHand(), False

    def commit(self, jobs: list[Job], *, apart: bool) -> Committed:
        if self.away:
            raise OperationalError("the storage is away")
        return commit(jobs, apart=apart)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def open(self) -> None:
        providers._providers[asyncio.get_running_loop()] = self.model

    async def close(self) -> None:
        await registry.close_current(0.2)
        await bus.close_current()
