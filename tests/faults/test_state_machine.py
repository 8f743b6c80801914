"""Any order of tokens, prompts, stops, deaths and viewers who come and go gives a history that a model allows.

The model is what the streams were told (`told.py`), and the viewers. Nothing waits for what a rule began, but the rule
that says so: what one rule sets off is still under way when the next one comes. In one process, on the database of the
tests. Hypothesis finds the order, makes it as short as it can, and prints how to run it again.
"""

import asyncio
from functools import partial
from typing import Any
from uuid import uuid4

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from chat import leases, registry, sessions, streams
from chat.exceptions import SessionBusy
from chat.models import ChatSession
from chat.prompt import PromptRequest
from chat.snapshot import read_snapshot
from chat.threads import in_thread
from events import bus, log_writer
from tests.faults.checker import violations
from tests.faults.recorded import histories, violating
from tests.faults.told import Tale, Told
from tests.faults.world import Reader, World
from tests.history import History, Seen

TEXTS = st.one_of(
    st.sampled_from(["x", "é😀", "\r\n", "\n\ndata: no\n\n", "\u2028", "مرحبا", "a" * 2000]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20),
)


class Machine(RuleBasedStateMachine):
    world: World

    @initialize()
    def begin(self) -> None:
        self.told = Tale()
        self.readers: list[Reader] = []
        self.lost: list[Told] = []  # ended by others, while this process believes that it runs them
        self.deleted = False
        self.session_id = self.world.run(in_thread(ChatSession.objects.create)).id
        self.join(0)

    # --- rules ---

    @precondition(lambda self: not self.world.away and not self.deleted and len(self.told.unfinished) < 4)
    @rule(policy=st.sampled_from(["interrupt", "enqueue", "rollback"]))
    def prompt(self, policy: str) -> None:
        text = uuid4().hex
        request = PromptRequest(self.session_id, text, if_busy=policy, on_disconnect="continue", caller_label="user:1")
        accepted = self.world.run(streams.answer(request))
        ids = {stream.id for stream in accepted.before}
        before = [told for told in self.told if told.id in ids]
        assert {told.id for told in before} == ids
        if policy != "enqueue":
            self.told.ends("interrupted", before)
        undoes = self.told[self.told.index(before[0]) :] if before and policy == "rollback" else []
        self.told.append(Told(accepted.stream.id, text, undoes))

    @precondition(lambda self: not self.world.away and not self.deleted and self.told.unfinished)
    @rule()
    def prompt_that_gives_way(self) -> None:
        request = PromptRequest(self.session_id, "?", if_busy="reject", on_disconnect="continue", caller_label="user:1")
        with pytest.raises(SessionBusy):
            self.world.run(streams.answer(request))

    @precondition(lambda self: self.told.unfinished)
    @rule(texts=st.lists(TEXTS, min_size=1, max_size=4))
    def tokens(self, texts: list[str]) -> None:
        active = self.told.unfinished[0]
        for text in texts:
            active.said += text
            self._say(active, text)

    @precondition(lambda self: self.lost)
    @rule(text=TEXTS)
    def token_of_a_lost_stream(self, text: str) -> None:
        self._say(self.lost[-1], text)

    @precondition(lambda self: self.told.unfinished and not self.world.away)
    @rule()
    def finish(self) -> None:
        active = self.told.unfinished[0]
        self.told.ends("completed", [active])
        self._say(active, "")

    @precondition(lambda self: not self.world.away)
    @rule()
    def stop(self) -> None:
        stopped = self.world.run(streams.stop(self.session_id))
        assert stopped == bool(self.told.unfinished) or self.told.in_doubt
        self.told.ends("stopped")

    @precondition(lambda self: not self.world.away)
    @rule()
    def kill(self) -> None:
        """Another process takes this one for dead, and ends what it runs; this one does not know."""

        async def end_by_lease() -> None:
            lease = registry.current().lease
            await bus.current().transaction(partial(leases._end_all, await lease.held()))
            lease._id = None

        self.world.run(end_by_lease())
        self.lost += self.told.unfinished[:1]
        self.told.ends("worker_lost")

    @precondition(lambda self: not self.world.away and not self.deleted and len(self.told) > 3)
    @rule()
    def delete(self) -> None:
        self.world.run(sessions.delete(self.session_id))
        self.told.ends("stopped")
        self.deleted = True

    @precondition(lambda self: self.told.unfinished and not self.world.away)
    @rule()
    def log_away(self) -> None:
        self.world.away = True

    @precondition(lambda self: self.world.away)
    @rule()
    def log_back(self) -> None:
        self.world.away = False

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

    @precondition(lambda self: not self.world.away)
    @rule()
    def settle(self) -> None:
        """All that was begun comes to rest, and viewers have been given what the model allows."""
        self.world.run(self._agree())
        self.told.settle(History(self.readers[0].seen))

    def teardown(self) -> None:
        if not hasattr(self, "told"):
            return
        self.world.away = False
        for reader in self.readers:
            if reader.task is None:
                self.world.run(_call(reader.resume))
        self.world.run(streams.stop(self.session_id))
        self.told.ends("stopped")
        try:
            self.settle()
            seq, stored = self.world.run(in_thread(read_snapshot, self.session_id))
            found = violations(self.readers, {**stored, "last_seq": seq}, caught_up=True)
        finally:
            for reader in self.readers:
                self.world.run(reader.drop())
        histories["any order"] += 1
        violating["any order"] += bool(found)
        assert not found, "\n".join(found)

    # --- inside ---

    async def _agree(self) -> None:
        problem = ""
        try:
            async with asyncio.timeout(5):
                while problem := self._disagreement():  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
        except TimeoutError:
            raise AssertionError(problem) from None

    def _disagreement(self) -> str:
        first = self.readers[0]
        for problem in self.told.disagreements(History(first.seen)):
            return problem
        behind = [reader for reader in self.readers if reader.task is not None and reader.cursor < first.cursor]
        return f"{behind} are behind {first.cursor}" if behind else ""

    def _join(self, reader: Reader) -> None:
        self.readers.append(reader)
        self.world.run(_call(reader.resume))

    def _say(self, stream: Told, text: str) -> None:
        self.world.run(self.world.model.said[stream.prompt].put(text))


async def _call(function: Any) -> None:
    function()


def test_any_history_is_one_that_the_model_allows(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    with asyncio.Runner() as runner:
        world = Machine.world = World(runner)
        monkeypatch.setattr(log_writer, "commit", world.commit)
        world.run(world.open())
        try:
            run_state_machine_as_test(
                hypothesis.seed(seed)(Machine),
                settings=settings(
                    max_examples=50,
                    stateful_step_count=30,
                    deadline=None,
                    database=None,
                    print_blob=True,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            world.away = False
            world.run(world.close())
