"""Any order of tokens, prompts, stops, deaths and viewers who come and go gives the one history that a model tells.

The model is a list of streams, each with its text and its end, and the viewers. In one process, on the database of
the tests. Hypothesis finds the order, makes it as short as it can, and prints how to run it again.
"""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chat import leases, providers, registry, sessions, streams
from chat.models import ChatSession
from chat.prompt import PromptRequest
from chat.providers.base import Finish, ModelRequest, Token
from chat.snapshot import read_snapshot
from chat.stream_state import EndReason
from chat.threads import in_thread
from events import bus, log_writer
from events.log_writing import Committed, Job, commit
from events.viewer import Lost
from tests.faults.checker import violations
from tests.history import History, Seen

T = TypeVar("T")
TEXTS = st.one_of(
    st.sampled_from(["x", "é😀", "\r\n", "\n\ndata: no\n\n", "\u2028", "مرحبا", "a" * 2000]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20),
)


@dataclass
class Told:
    """A stream as the model has it. `end` empty: it has not ended."""

    id: UUID
    prompt: str
    text: str = ""
    end: str = ""


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

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Token] | Finish, None]:
        said = self.said[request.messages[-1].content]
        while text := await said.get():
            yield [Token(text)]
        yield Finish(EndReason.COMPLETED, None, None)

    async def aclose(self) -> None:
        """Nothing is open."""


class World:
    """One process, for all examples."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner, self.model, self.away = runner, ModelInHand(), False

    def commit(self, jobs: list[Job]) -> Committed:
        if self.away:
            raise OperationalError("the storage is away")
        return commit(jobs)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def open(self) -> None:
        providers._providers[asyncio.get_running_loop()] = self.model

    async def close(self) -> None:
        await registry.close_current(0.2)
        await bus.close_current()


class Machine(RuleBasedStateMachine):
    world: World

    @initialize()
    def begin(self) -> None:
        self.told: list[Told] = []
        self.readers: list[Reader] = []
        self.lost: list[Told] = []  # ended by others, while this process believes that it runs them
        self.deleted = False
        self.session_id = self.world.run(in_thread(ChatSession.objects.create)).id
        self.join(0)

    @property
    def unfinished(self) -> list[Told]:
        return [stream for stream in self.told if not stream.end]

    # --- rules ---

    @precondition(lambda self: not self.world.away and not self.deleted and len(self.unfinished) < 4)
    @rule(policy=st.sampled_from(["interrupt", "enqueue"]))
    def prompt(self, policy: str) -> None:
        text = uuid4().hex
        request = PromptRequest(self.session_id, text, if_busy=policy, on_disconnect="continue", caller_label="user:1")
        accepted = self.world.run(streams.answer(request))
        if policy == "interrupt":
            self._end_all("interrupted")
        self.told.append(Told(accepted.stream.id, text))

    @precondition(lambda self: self.unfinished)
    @rule(text=TEXTS)
    def token(self, text: str) -> None:
        active = self.unfinished[0]
        active.text += text
        self._say(active, text)

    @precondition(lambda self: self.lost)
    @rule(text=TEXTS)
    def token_of_a_lost_stream(self, text: str) -> None:
        self._say(self.lost[-1], text)

    @precondition(lambda self: self.unfinished and not self.world.away)
    @rule()
    def finish(self) -> None:
        active = self.unfinished[0]
        active.end = "completed"
        self._say(active, "")

    @precondition(lambda self: not self.world.away)
    @rule()
    def stop(self) -> None:
        assert self.world.run(streams.stop(self.session_id)) == bool(self.unfinished)
        self._end_all("stopped")

    @precondition(lambda self: not self.world.away)
    @rule()
    def kill(self) -> None:
        """Another process takes this one for dead, and ends what it runs; this one does not know."""

        async def end_by_lease() -> None:
            lease = registry.current().lease
            await bus.current().transaction(partial(leases._end_all, await lease.held()))
            lease._id = None

        self.world.run(end_by_lease())
        self.lost += self.unfinished[:1]
        self._end_all("worker_lost")

    @precondition(lambda self: not self.world.away and not self.deleted)
    @rule()
    def delete(self) -> None:
        self.world.run(sessions.delete(self.session_id))
        self._end_all("stopped")
        self.deleted = True

    @rule(away=st.booleans())
    def log_away_or_back(self, away: bool) -> None:
        self.world.away = away

    @precondition(lambda self: len(self.readers) < 6)
    @rule(part=st.floats(0, 1))
    def join(self, part: float) -> None:
        """From any cursor that was given out."""
        self._join(Reader(self.session_id, int(part * self.readers[0].cursor) if self.readers else 0))

    @precondition(lambda self: len(self.readers) < 6)
    @rule()
    def join_with_a_snapshot(self) -> None:
        seq, snapshot = self.world.run(in_thread(read_snapshot, self.session_id))
        self._join(Reader(self.session_id, None, [Seen(seq, "snapshot", snapshot)]))

    @rule(number=st.integers(1, 5))
    def drop_or_resume(self, number: int) -> None:
        reader = self.readers[number % len(self.readers)]
        if reader is self.readers[0]:
            return
        if reader.task is None:
            self.world.run(_call(reader.resume))
        else:
            self.world.run(reader.drop())

    # --- what must hold ---

    @invariant()
    def viewers_are_given_what_the_model_says(self) -> None:
        if hasattr(self, "told") and not self.world.away:
            self.world.run(self._agree())

    def teardown(self) -> None:
        if not hasattr(self, "told"):
            return
        self.world.away = False
        for reader in self.readers:
            if reader.task is None:
                self.world.run(_call(reader.resume))
        self.world.run(streams.stop(self.session_id))
        self._end_all("stopped")
        self.world.run(self._agree())
        seq, stored = self.world.run(in_thread(read_snapshot, self.session_id))
        assert violations(self.readers, {**stored, "last_seq": seq}, caught_up=True) == []
        for reader in self.readers:
            self.world.run(reader.drop())

    # --- inside ---

    async def _agree(self) -> None:
        first = self.readers[0]
        problem = ""
        try:
            async with asyncio.timeout(5):
                while problem := self._disagreement(first):  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
        except TimeoutError:
            raise AssertionError(problem) from None

    def _disagreement(self, first: Reader) -> str:
        history = History(first.seen)
        for told in self.told:
            said = (history.text(told.id), history.end_of(told.id))
            if said != (told.text, told.end):
                return f"{told} was given as {said}"
        behind = [reader for reader in self.readers if reader.task is not None and reader.cursor < first.cursor]
        return f"{behind} are behind {first.cursor}" if behind else ""

    def _join(self, reader: Reader) -> None:
        self.readers.append(reader)
        self.world.run(_call(reader.resume))

    def _end_all(self, reason: str) -> None:
        for stream in self.unfinished:
            stream.end = reason

    def _say(self, stream: Told, text: str) -> None:
        self.world.run(self.world.model.said[stream.prompt].put(text))


async def _call(function: Any) -> None:
    function()


def test_any_history_is_the_one_of_the_model(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with asyncio.Runner() as runner:
        world = Machine.world = World(runner)
        monkeypatch.setattr(log_writer, "commit", world.commit)
        world.run(world.open())
        try:
            run_state_machine_as_test(
                Machine,
                settings=settings(
                    max_examples=30,
                    stateful_step_count=30,
                    deadline=None,
                    derandomize="CI" in os.environ,
                    print_blob=True,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            world.away = False
            world.run(world.close())
