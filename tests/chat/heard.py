"""What a test hears from a provider."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from chat.providers.base import Finish, Loading, ModelMessage, ModelRequest, Provider, ProviderError


def asking(prompt: str, **options: Any) -> ModelRequest:
    return ModelRequest((ModelMessage("user", prompt),), "", 512, options)


class Heard:
    """What came of one answer until its end."""

    def __init__(self) -> None:
        self.text = ""
        self.loading = 0
        self.finish: Finish | None = None

    async def all_of(self, provider: Provider, prompt: str, **options: Any) -> "Heard":
        async with aclosing(provider.stream(asking(prompt, **options))) as answer:
            async for item in answer:
                assert self.finish is None, "something came after the end"
                if isinstance(item, Finish):
                    self.finish = item
                elif isinstance(item, Loading):
                    assert not self.text, "loading after text"
                    self.loading += 1
                else:
                    assert item, "an empty list of tokens"
                    self.text += "".join(item)
        return self


async def heard(provider: Provider, prompt: str, **options: Any) -> Heard:
    return await Heard().all_of(provider, prompt, **options)


async def failure(provider: Provider, prompt: str) -> tuple[ProviderError, str]:
    """The error, and the text before it."""
    heard = Heard()
    with pytest.raises(ProviderError) as raised:
        await heard.all_of(provider, prompt)
    return raised.value, heard.text


class Resting:
    """Whoever rests while a provider answers."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.read: Callable[[], Sequence[str]]

    def reads(self, read: Callable[[], Sequence[str]]) -> None:
        self.read = read

    def end(self) -> None:
        self.ended.set()
