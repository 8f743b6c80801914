"""Who reads a model rests from one batch to the next, and nothing leaves later for it."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from unittest.mock import patch

import pytest

from events.core.batching import Batch
from events.core.pace import TICK_SHARE, Pace
from events.resting import Rest
from events.timers import Timers
from tests.events.test_publisher import INTERVAL, ScriptedLog, Stream, log, slow_down, types

__all__ = ["log"]  # the fixture

pytestmark = pytest.mark.looptime

TOKEN_SECONDS = 0.02
BATCH_SECONDS = 3 * TICK_SHARE * INTERVAL


class Model:
    """Says `k ` at k × 20 ms, and all that is due in one go; `waits`: how often it was waited for."""

    def __init__(self, tokens: int, *, text: str = "", pauses: tuple[int, float] = (0, 0.0)) -> None:
        self.waits = self._k = 0
        self._tokens, self._text, self._pauses = tokens, text, pauses

    def due_at(self, k: int) -> float:
        before, seconds = self._pauses
        return k * TOKEN_SECONDS + (seconds if k >= before else 0.0)

    def due(self, *, at_least: int = 0) -> list[str]:
        """All that is due now and was not said before."""
        said: list[str] = []
        now = asyncio.get_running_loop().time()
        while self._k < self._tokens and (len(said) < at_least or self.due_at(self._k) <= now + 1e-9):
            said.append(f"{self._k} {self._text}")
            self._k += 1
        return said

    async def read(self, rest: Rest) -> AsyncIterator[list[str]]:
        rest.reads(self.due)
        while self._k < self._tokens:
            if (early_seconds := self.due_at(self._k) - asyncio.get_running_loop().time()) > 1e-9:
                self.waits += 1
                await asyncio.sleep(early_seconds)
            yield self.due(at_least=1)


async def read(stream: Stream, model: Model) -> None:
    """As `chat/reading.py` does."""
    rest = stream.publisher.rest
    async for tokens in model.read(rest):
        stream.publisher.add(*tokens)
        if rest.allowed:
            await rest.until_needed()


def delays(log: ScriptedLog, model: Model) -> list[float]:
    """How long each token waited for its batch."""
    sent = [(began, entry.data) for began, entries in log.commits for entry in entries if entry.type == "text"]
    return [began - model.due_at(int(word)) for began, text in sent for word in text.split() if word.isdigit()]


@pytest.mark.parametrize("commit_seconds", [0.0, 0.004, 0.08])
async def test_the_reader_is_hardly_ever_woken(log: ScriptedLog, commit_seconds: float) -> None:
    log.seconds = commit_seconds
    stream, model = Stream(log), Model(500)
    await read(stream, model)
    await asyncio.sleep(INTERVAL)
    assert log.text == "".join(f"{k} " for k in range(500))
    assert model.waits <= 2
    assert max(delays(log, model)) <= max(INTERVAL, commit_seconds) + 1e-9
    if commit_seconds > INTERVAL:  # what comes while the commit before is late leaves when that is over, all of it
        assert len(log.commits) <= 2 + 500 * TOKEN_SECONDS / commit_seconds
        return
    later = [began for began, _ in log.commits[1:]]
    apart = [round((after - before) * 3 / BATCH_SECONDS, 3) for before, after in pairwise(later[1:])]
    assert set(apart) <= {3, 2}
    assert apart.count(2) <= 2  # to keep step with others
    assert len(log.commits) < 150


async def test_streams_whose_readers_rest_come_to_keep_step(log: ScriptedLog) -> None:
    """The moment until which the reader rests is the one in which the batch leaves, an early one too."""
    model = Model(250)
    for begin in (0.0, 0.03, 0.05):
        await asyncio.sleep(begin)
        reading = asyncio.create_task(read(Stream(log), model))
    await reading
    in_a_second = {round(began, 4) for began, _ in log.commits if began > asyncio.get_running_loop().time() - 1}
    assert 13 <= len(in_a_second) <= 15


async def test_what_waits_when_the_rest_begins_leaves_with_what_is_read_after_it(log: ScriptedLog) -> None:
    stream, model = Stream(log), Model(40)
    await read(stream, model)
    await asyncio.sleep(INTERVAL)
    assert max(delays(log, model)) <= INTERVAL + 1e-9
    assert len(log.commits) <= 2 + 40 * TOKEN_SECONDS / BATCH_SECONDS


async def test_after_a_pause_of_the_model_the_next_token_leaves_at_once(log: ScriptedLog) -> None:
    stream, model = Stream(log), Model(80, pauses=(40, 0.5))
    await read(stream, model)
    await asyncio.sleep(INTERVAL)
    assert delays(log, model)[40] == pytest.approx(0.0)
    assert max(delays(log, model)) <= INTERVAL + 1e-9


async def test_no_rest_while_so_much_is_said_that_it_leaves_by_its_size(log: ScriptedLog) -> None:
    stream, model = Stream(log), Model(100, text="x" * 300)
    await read(stream, model)
    await asyncio.sleep(INTERVAL)
    assert model.waits == 99
    assert max(delays(log, model)) <= INTERVAL + 1e-9


async def test_a_batch_says_how_long_its_oldest_token_may_have_waited_unread(log: ScriptedLog) -> None:
    stream, model = Stream(log), Model(60, pauses=(40, 0.5))
    waited: list[float] = []
    learn = stream.publisher.rest.learn

    def listen(_: Rest, batch: Batch) -> None:
        waited.append(batch.waited_seconds)
        learn(batch)

    with patch.object(Rest, "learn", listen):
        await read(stream, model)
        await asyncio.sleep(INTERVAL)
    oldest = [max(0.0, *part) for part in batches_of(delays(log, model), log)]
    assert len(waited) == len(oldest)
    for at_most, real in zip(waited, oldest, strict=True):
        assert real - 0.002 <= at_most <= INTERVAL


async def test_what_a_silent_model_says_last_has_not_waited(log: ScriptedLog) -> None:
    stream = Stream(log)
    stream.publisher.rest.reads(list)
    stream.publisher.add("first")
    await stream.publisher.rest.until_needed()  # it has said nothing
    await asyncio.sleep(60)
    stream.publisher.rest.end()
    with patch.object(Rest, "learn", autospec=True) as learn:
        stream.publisher.add("last")
    assert learn.call_args.args[1].waited_seconds == 0.0


async def test_in_a_loop_that_is_late_the_readers_of_several_moments_know_since_when_it_waited(
    log: ScriptedLog,
) -> None:
    loop, pace = asyncio.get_running_loop(), Pace(INTERVAL, 0.2)
    timers, streams, waited = Timers(pace), [], list[float]()
    for _ in range(2):
        streams.append(Stream(log, pace, timers))
        streams[-1].publisher.add("first")
        await asyncio.sleep(0.026)

    readers = []
    for stream in streams:
        stream.publisher.rest.reads(lambda: ["next"])
        readers.append(asyncio.create_task(stream.publisher.rest.until_needed()))
    await asyncio.sleep(0)
    moments = sorted(moment for moment in timers._due if moment < 0.5)  # then what goes along with a second text
    assert len(moments) == 2
    with (
        patch.object(Rest, "learn", lambda _, batch: waited.append(batch.waited_seconds)),
        patch.object(loop, "time", lambda: moments[-1] + 0.15),
    ):
        for moment in moments:
            timers._call(moment)
    assert len(waited) == 2
    assert min(waited) > 0.15
    for reader in readers:
        reader.cancel()


async def test_a_rest_that_begins_just_before_a_batch_is_due_does_not_hold_it_up(log: ScriptedLog) -> None:
    stream = Stream(log)
    await read(stream, Model(20))
    await asyncio.sleep(1)
    stream.publisher.add("leaves ")
    await asyncio.sleep(0.01)
    stream.publisher.add("waits ")
    due = stream.publisher._at
    await asyncio.sleep(due - 0.0005 - asyncio.get_running_loop().time())
    stream.publisher.add("too ")
    rest = asyncio.create_task(stream.publisher.rest.until_needed())
    await asyncio.sleep(0.01)
    assert log.text.endswith("leaves waits too ")
    rest.cancel()


def batches_of(per_token: list[float], log: ScriptedLog) -> list[list[float]]:
    texts = [entry.data for entry in log.entries if entry.type == "text"]
    taken = iter(per_token)
    return [[next(taken) for word in text.split() if word.isdigit()] for text in texts]


async def test_after_the_first_token_the_reader_rests_if_it_was_a_short_one(log: ScriptedLog) -> None:
    for text, rests in (("a" * 128, True), ("a" * 129, False)):
        stream = Stream(log)
        stream.publisher.rest.reads(list)
        assert not stream.publisher.rest.allowed
        stream.publisher.add(text)
        assert stream.publisher.rest.allowed is rests


async def test_no_rest_after_a_batch_of_one_token(log: ScriptedLog) -> None:
    stream = Stream(log)
    stream.publisher.rest.reads(list)
    stream.publisher.add("a")
    await asyncio.sleep(1.5)  # nothing of the first one is on its way any more
    stream.publisher.add("b")
    assert not stream.publisher.rest.allowed


async def resting(stream: Stream) -> "asyncio.Task[None]":
    """A rest that has some 50 ms to go, while a token waits."""
    await read(stream, Model(20))
    await asyncio.sleep(1)
    stream.publisher.add("leaves ")
    await asyncio.sleep(0.01)
    stream.publisher.add("waits ")
    task = asyncio.create_task(stream.publisher.rest.until_needed())
    await asyncio.sleep(0.01)
    assert stream.log.text.endswith("leaves ")
    assert not task.done()
    return task


async def test_the_end_of_the_answer_ends_the_rest_for_good(log: ScriptedLog) -> None:
    stream = Stream(log)
    rest = await resting(stream)
    before = asyncio.get_running_loop().time()
    stream.publisher.rest.end()
    await rest
    assert asyncio.get_running_loop().time() == before
    assert not stream.publisher.rest.allowed
    await stream.finish()
    assert log.text.endswith("waits ")
    assert types(log)[-1] == "end"


async def test_what_the_reading_raises_the_reader_is_told(log: ScriptedLog) -> None:
    stream = Stream(log)
    rest = await resting(stream)

    def fail() -> list[str]:
        raise RuntimeError("cannot read")

    stream.publisher.rest.reads(fail)
    with pytest.raises(RuntimeError, match="cannot read"):
        await rest
    await asyncio.sleep(0.001)
    assert log.text.endswith("waits ")


async def test_in_a_loop_with_much_to_do_the_last_text_has_no_batch_of_its_own(log: ScriptedLog) -> None:
    stream = Stream(log)
    rest = await resting(stream)
    due = stream.publisher.rest.ends_at
    stream.publisher.rest.reads(lambda: ["last"])
    slow_down(stream.pace)
    stream.publisher.rest.end()
    await rest
    assert asyncio.get_running_loop().time() == pytest.approx(due)
    await asyncio.sleep(0)
    assert log.text.endswith("waits last")
    assert not stream.publisher.rest.allowed


async def test_a_rest_that_is_cancelled_leaves_what_waits_its_time(log: ScriptedLog) -> None:
    stream = Stream(log)
    rest = await resting(stream)
    last = log.commits[-1][0]
    rest.cancel()
    await asyncio.sleep(INTERVAL)
    assert BATCH_SECONDS - 0.025 < log.commits[-1][0] - last <= INTERVAL
    assert log.text.endswith("waits ")


async def test_other_events_do_not_wait_for_the_rest(log: ScriptedLog) -> None:
    stream = Stream(log)
    rest = await resting(stream)
    await stream.finish()
    assert types(log)[-2:] == ["text", "end"]
    assert not rest.done()
    rest.cancel()


async def test_while_the_loop_is_late_the_rest_is_longer(log: ScriptedLog) -> None:
    stream, model = Stream(log), Model(300)
    slow_down(stream.pace)
    await read(stream, model)
    await asyncio.sleep(0.2)
    starts = [began for began, _ in log.commits]
    assert max(later - earlier for earlier, later in pairwise(starts)) > 0.15
    assert max(delays(log, model)) <= 0.2
    assert model.waits <= 2
