"""Twenty long answers of the real model in one session: whatever fits is given to it, and none fails for its length."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Client
from tests.live.server import Server, running_server
from tests.services import EmbeddedModel

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]  # two minutes, but for a machine that is busy otherwise

ANSWERS = 20
LONGEST = 2  # the last ones, with the default CHAT_MAX_TOKENS; as many tokens as the others together
SHORT = {"max_tokens": 30}
DENSE = "Mind these numbers: " + "31415926 " * 50  # a token a digit: the estimate of what fits is close to the truth
LONG_HISTORY_TOKENS = 1000
SLOT_TOKENS = 2048  # what the embedded model has for a prompt and its answer
SUBJECTS = ["the sea", "a mountain village", "the history of bread", "how a clock works", "the life of a river"]


@pytest.fixture
def with_model(embedded_model: EmbeddedModel, tmp_path: Path) -> Iterator[Server]:
    """How much history is given, and how long an answer may be, is as it comes: together they must fit."""
    embedded_model.share_with(tmp_path)
    with running_server(data_dir=tmp_path) as server:
        yield server


async def test_twenty_long_answers_in_one_session(with_model: Server) -> None:
    async with Client(with_model.url) as client:
        session = await client.new_session()
        viewer = client.follow(session, 0)
        ends = []
        for number in range(ANSWERS):
            subject = SUBJECTS[number % len(SUBJECTS)]
            prompt = f"Write a long essay about {subject}. " + "Please be thorough. " * 40
            if number >= ANSWERS - LONGEST:
                answer = client.ask(session, f"Write a long essay about {subject}. {DENSE}")
                assert await answer.until_end(timeout_seconds=240) in ("completed", "length")
                usage = answer.history[-1].data["usage"]
                assert usage["prompt_tokens"] + usage["completion_tokens"] <= SLOT_TOKENS
            elif number % 3 == 1:  # the next prompt interrupts it
                answer = client.ask(session, prompt)
                await answer.until(lambda viewer: len(viewer.text) > 200 or viewer.history.ends(), 60)
            else:
                answer = client.ask(session, prompt, options=SHORT)
                await answer.until_end(timeout_seconds=120)
            ends.append(answer.stream_id)
        assert usage["prompt_tokens"] > LONG_HISTORY_TOKENS
        await viewer.until(lambda viewer: len(viewer.history.ends()) == ANSWERS)
        reasons = [viewer.history.end_of(stream) for stream in ends]
        assert set(reasons) <= {"completed", "length", "interrupted"}, reasons
        assert viewer.history.problems() == []
        messages = (await client.session(session))["messages"]
        answers = [message for message in messages if message["role"] == "assistant"]
        assert [message["text"] for message in answers] == [viewer.history.text(stream) for stream in ends]
        assert all(message["text"] for message in answers), "every one has said something"
        assert sum(len(message["text"]) for message in messages) > 6 * 2048, "far more than the context holds"
