"""Twenty long answers of the real model in one session: whatever fits is given to it, and none fails for its length."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Client
from tests.live.server import Server, running_server
from tests.services import EmbeddedModel

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]  # a minute, but for a machine that is busy otherwise

ANSWERS = 20
SUBJECTS = ["the sea", "a mountain village", "the history of bread", "how a clock works", "the life of a river"]


@pytest.fixture
def with_model(embedded_model: EmbeddedModel, tmp_path: Path) -> Iterator[Server]:
    """`CHAT_MAX_TOKENS` bounds the time; the history fills the context all the same."""
    embedded_model.share_with(tmp_path)
    with running_server(data_dir=tmp_path, env={"CHAT_MAX_TOKENS": "80"}) as server:
        yield server


async def test_twenty_long_answers_in_one_session(with_model: Server) -> None:
    async with Client(with_model.url) as client:
        session = await client.new_session()
        viewer = client.follow(session, 0)
        ends = []
        for number in range(ANSWERS):
            subject = SUBJECTS[number % len(SUBJECTS)]
            answer = client.ask(session, f"Write a long essay about {subject}. " + "Please be thorough. " * 40)
            if number % 3 == 1:  # the next prompt interrupts it
                await answer.until(lambda viewer: len(viewer.text) > 200 or viewer.history.ends(), 60)
            else:
                await answer.until_end(timeout_seconds=120)
            ends.append(answer.stream_id)
        await viewer.until(lambda viewer: len(viewer.history.ends()) == ANSWERS, 120)
        reasons = [viewer.history.end_of(stream) for stream in ends]
        assert set(reasons) <= {"completed", "length", "interrupted"}, reasons
        assert viewer.history.problems() == []
        messages = (await client.session(session))["messages"]
        answers = [message for message in messages if message["role"] == "assistant"]
        assert [message["text"] for message in answers] == [viewer.history.text(stream) for stream in ends]
        assert all(message["text"] for message in answers), "every one has said something"
        assert sum(len(message["text"]) for message in messages) > 6 * 2048, "far more than the context holds"
