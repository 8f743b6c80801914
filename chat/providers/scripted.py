"""A provider without a model or a network, for development, demos and tests: it sends what its script says.

CHAT_PROVIDER_URL=`scripted:?tokens=100&rate=50` chooses it. A prompt that is itself `scripted:?…` chooses the script of
its own answer; that harms nobody, as no script reaches anything outside. The script alone says how long an answer is.
Token k is `⟨k:crc32⟩`, so that loss, repetition, reordering and truncation show in the text itself.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl
from zlib import crc32

from chat.providers.base import NO_REST, Finish, Loading, ModelRequest, ProviderError, Rest
from chat.stream_state import EndReason

BURST_TOKENS = 100  # of those that are due, at most so many come in one go
MAX_VALUE = 1_000_000_000.0
_INTEGERS = ("tokens", "error_after", "hang_after")
_SECONDS_AND_RATES = ("rate", "first_delay", "loading", "at")


@dataclass(frozen=True)
class Script:
    tokens: int = 100
    rate: float = 50.0  # tokens a second; 0: as fast as they are taken
    first_delay: float = 0.0  # seconds before the first token
    at: float = 0.0  # when the first token is due, on the machine's monotonic clock; then `first_delay` says nothing
    loading: float = 0.0  # seconds that the model says it is loading, before that
    error_after: int | None = None  # tokens, then the provider fails
    hang_after: int | None = None  # tokens, then nothing more comes
    finish: str = "stop"  # or "length"
    text: str = ""  # sent instead of the numbered tokens, four characters a token

    @classmethod
    def parse(cls, address: str) -> "Script":
        """From `scripted:` or `scripted:?name=value&…`. Raises ValueError with a sentence that says what is wrong."""
        scheme, _, query = address.partition(":")
        if scheme != "scripted" or (query and not query.startswith("?")):
            raise ValueError(f"A script looks like scripted:?tokens=100&rate=50, not {address[:80]!r}.")
        values: dict[str, str | int | float] = {}
        for name, value in parse_qsl(query[1:], keep_blank_values=True):
            if name not in cls.__dataclass_fields__:
                raise ValueError(f"A script has no {name!r}; it has {', '.join(cls.__dataclass_fields__)}.")
            values[name] = value if name in ("finish", "text") else _number(name, value)
        if values.get("finish", "stop") not in ("stop", "length"):
            raise ValueError(f"A script's finish is stop or length, not {values['finish']!r}.")
        return cls(**values)  # type: ignore[arg-type]  # every name was looked up above

    def pieces(self) -> int:
        return -(-len(self.text) // 4) if self.text else self.tokens

    def piece(self, k: int) -> str:
        return self.text[4 * k : 4 * k + 4] if self.text else numbered(k)


@lru_cache(maxsize=10_000)  # some 2 MB: to make a token anew for every stream is a tenth of all that it costs
def numbered(k: int) -> str:
    return f"⟨{k}:{crc32(b'%d' % k):08x}⟩"


def _number(name: str, value: str) -> int | float:
    try:
        number = int(value) if name in _INTEGERS else float(value)
    except ValueError:
        number = -1
    if not 0 <= number <= MAX_VALUE:
        raise ValueError(f"A script's {name} is a number from 0 to {MAX_VALUE:g}, not {value[:80]!r}.")
    return number


class ScriptedProvider:
    name = "scripted"

    def __init__(self, script: Script) -> None:
        self._script = script

    async def models(self) -> list[str]:
        return ["scripted"]

    async def stream(
        self, request: ModelRequest, rest: Rest = NO_REST
    ) -> AsyncGenerator[list[str] | Finish | Loading, None]:
        script = self._script_of(request)
        if script.loading:
            yield Loading()
            await asyncio.sleep(script.loading)
        loop = asyncio.get_running_loop()
        due = script.at or loop.time() + script.first_delay
        await asyncio.sleep(max(0.0, due - loop.time()))
        interval_seconds = 1 / script.rate if script.rate else 0.0
        stops = [stop for stop in (script.error_after, script.hang_after) if stop is not None]
        last = min([script.pieces(), *stops])
        piece = script.piece if script.text else numbered
        begun = k = 0

        def read(*, at_least: int = 0) -> list[str]:
            nonlocal begun, k
            due_by_now = int((loop.time() - due) / interval_seconds) + 1 if interval_seconds else last
            begun, k = k, min(last, k + BURST_TOKENS, max(k + at_least, due_by_now))
            return [piece(each) for each in range(begun, k)]

        ends = loop.call_at(due + (last - 1) * interval_seconds, rest.end)
        rest.reads(read)
        try:
            while k < last:
                early_seconds = due + k * interval_seconds - loop.time()
                if early_seconds > 0 or k - begun == BURST_TOKENS:
                    await asyncio.sleep(early_seconds)
                yield read(at_least=1)
        finally:
            ends.cancel()
        if script.hang_after == last:
            await loop.create_future()
        if script.error_after == last:
            raise ProviderError(EndReason.PROVIDER_ERROR, "The script says that the model fails here.", retryable=True)
        reason = EndReason.LENGTH if script.finish == "length" else EndReason.COMPLETED
        yield Finish(reason, sum(len(message.content.split()) for message in request.messages), last)

    async def aclose(self) -> None:
        """Nothing is open."""

    def _script_of(self, request: ModelRequest) -> Script:
        prompt = request.messages[-1].content.strip() if request.messages else ""
        if not prompt.startswith("scripted:?"):
            return self._script
        try:
            return Script.parse(prompt)
        except ValueError as error:
            raise ProviderError(EndReason.PROVIDER_ERROR, str(error)) from None
