"""Many streams at once, and how old each token is when its reader has it."""

import asyncio
from dataclasses import dataclass

from tests.client import Client, Viewer
from tests.corpus import problems


@dataclass(frozen=True)
class Load:
    """`incomplete`: streams that lack something, with what; `ages`: of all tokens in seconds, sorted."""

    streams: int
    incomplete: list[str]
    ages: list[float]

    def percentile(self, percent: float) -> float:
        return self.ages[min(len(self.ages) - 1, int(len(self.ages) * percent / 100))] if self.ages else 0.0


async def stream_at_once(client: Client, *, streams: int, rate: float, seconds: float) -> Load:
    """So many sessions ask in the same moment for `rate` tokens a second; each answer is read to its end."""
    tokens = int(rate * seconds)
    sessions = [await client.new_session() for _ in range(streams)]
    prompts = [f"scripted:?tokens={tokens}&rate={rate}&corpus=timed&salt={session}" for session in sessions]
    answers = [client.ask(session, prompt) for session, prompt in zip(sessions, prompts, strict=True)]
    async with asyncio.timeout(10 * seconds + 60):
        await asyncio.gather(*(answer.until_over(10 * seconds + 60) for answer in answers))
    incomplete = [
        f"stream {number}: {found}"
        for number, (answer, session) in enumerate(zip(answers, sessions, strict=True))
        for found in _missing(answer, tokens, session)
    ]
    return Load(streams, incomplete, sorted(age for answer in answers for age in answer.ages))


def _missing(answer: Viewer, tokens: int, salt: str) -> list[str]:
    end = answer.history.end_of(answer.stream_id)
    found = [*problems(answer.text, tokens, salt), *answer.history.problems()]
    return found if end == "completed" and answer.error is None else [repr(answer), *found]
