"""The stability test that people run against a server: two prompts in quick succession, again and again.

A long essay is asked for; 50 ms later, without stopping it, something simple. The first must end `interrupted`, the
second to its end, and the server must answer all the while.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp

from events.core.sse import Decoder

ESSAY = "Write a long essay of at least two thousand words about the history of the sea and the people who crossed it."
QUESTION = "What is two plus two? Answer in one short sentence."
BETWEEN_SECONDS = 0.05
HEALTH_SECONDS = 1.0
_QUOTED_CHARACTERS = 200


class CheckFailed(Exception):
    """What did not hold, in a sentence."""


@dataclass(slots=True)
class Answer:
    """A streamed answer as it was received. `end` is the reason, or the code of the error."""

    end: str = ""
    text: str = ""
    first_token_seconds: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Iteration:
    interrupted: Answer
    answered: Answer
    health_seconds: float


class StreamingCheck:
    """One session on the server at `url`. Use as an async context manager; without a key it comes as a browser."""

    def __init__(self, url: str, key: str = "", timeout_seconds: float = 120.0) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._timeout_seconds = timeout_seconds

    async def __aenter__(self) -> "StreamingCheck":
        self._http = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # unsafe: also for servers that are named by their address
            timeout=aiohttp.ClientTimeout(total=self._timeout_seconds),
        )
        try:
            await self._open_session()
        except TimeoutError:
            await self._http.close()
            raise CheckFailed(f"{self._url} did not answer within {self._timeout_seconds:.0f} s.") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: what aiohttp says of some addresses
            await self._http.close()
            raise CheckFailed(f"{self._url} cannot be reached: {error or repr(error)}") from None
        except BaseException:
            await self._http.close()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            async with self._http.delete(f"{self._url}/api/sessions/{self._session}/", headers=self._headers):
                pass
        except (aiohttp.ClientError, TimeoutError):
            pass  # what was to be found out has been
        finally:
            await self._http.close()

    async def baseline(self) -> Answer:
        """One simple question, undisturbed."""
        answer = await self._ask(QUESTION)
        _must_have_ended(answer, {"completed", "length"}, "The baseline request")
        return answer

    async def iteration(self) -> Iteration:
        """The essay, 50 ms, the question. Raises CheckFailed."""
        essay = asyncio.create_task(self._ask(ESSAY))
        await asyncio.sleep(BETWEEN_SECONDS)
        question = asyncio.create_task(self._ask(QUESTION))
        try:
            health_seconds = await self._health()
            interrupted, answered = await asyncio.gather(essay, question)
        finally:
            essay.cancel()
            question.cancel()
        _must_have_ended(interrupted, {"interrupted"}, "Prompt A")
        _must_have_ended(answered, {"completed", "length"}, "Prompt B")
        return Iteration(interrupted, answered, health_seconds)

    async def _open_session(self) -> None:
        self._headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        if not self._key:
            async with self._http.get(f"{self._url}/") as page:
                if page.status != 200:
                    raise CheckFailed(f"The page answered {page.status}; give an API key with --key.")
            cookies = {cookie.key: cookie.value for cookie in self._http.cookie_jar}
            self._headers = {"X-CSRFToken": cookies.get("csrftoken", ""), "Referer": f"{self._url}/"}
        async with self._http.post(
            f"{self._url}/api/sessions/", json={"title": "check_streaming"}, headers=self._headers
        ) as response:
            text = await response.text(errors="replace")
            try:
                body = json.loads(text)
                if response.status == 201:
                    self._session = body["id"]
                    return
                said = body["error"]["message"]
            except (ValueError, LookupError, TypeError):
                said = f"and what it said is none of Jarvis's answers: {text[:_QUOTED_CHARACTERS]!r}"
            raise CheckFailed(f"No session could be made: {response.status}, {said}")

    async def _ask(self, prompt: str) -> Answer:
        answer, started = Answer(), time.monotonic()
        headers = {**self._headers, "Accept": "text/event-stream"}
        url = f"{self._url}/api/sessions/{self._session}/streams/"
        try:
            async with self._http.post(url, json={"prompt": prompt}, headers=headers) as response:
                if response.status != 200:
                    raise CheckFailed(f"A prompt was answered with {response.status}: {await response.text()}")
                async for type, data in _events(response):
                    if type == "chat.token":
                        answer.text += data["text"]
                        answer.first_token_seconds = answer.first_token_seconds or time.monotonic() - started
                    elif type in ("chat.end", "chat.error"):
                        answer.end = data.get("reason") or f"{data['code']}: {data['message']}"
        except TimeoutError:
            raise CheckFailed(f"An answer had not ended after {self._timeout_seconds:.0f} s.") from None
        except aiohttp.ClientError as error:
            raise CheckFailed(f"The connection broke: {error!r}") from None
        answer.seconds = time.monotonic() - started
        return answer

    async def _health(self) -> float:
        started = time.monotonic()
        try:
            async with (
                asyncio.timeout(HEALTH_SECONDS),
                self._http.get(f"{self._url}/healthz") as response,
            ):
                if response.status != 200:
                    raise CheckFailed(f"/healthz answered {response.status}.")
        except TimeoutError:
            raise CheckFailed(f"/healthz did not answer within {HEALTH_SECONDS:.0f} s.") from None
        except aiohttp.ClientError as error:
            raise CheckFailed(f"/healthz broke off: {error!r}") from None
        return time.monotonic() - started


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, dict[str, str]]]:
    decoder = Decoder()
    async for chunk in response.content.iter_any():
        for frame in decoder.feed(chunk):
            try:
                yield frame.event, json.loads(frame.data)
            except ValueError:
                raise CheckFailed(f"An event is no JSON: {frame.data[:_QUOTED_CHARACTERS]!r}") from None


def _must_have_ended(answer: Answer, ends: set[str], who: str) -> None:
    if answer.end not in ends:
        raise CheckFailed(f"{who} ended {answer.end or 'without a terminal event'}, not {' or '.join(sorted(ends))}.")
