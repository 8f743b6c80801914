"""The OpenAI-compatible provider against an endpoint that misbehaves in every known way, and is left at any time."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from chat.providers.base import ContextExceeded, Finish, ModelMessage, ModelRequest, ProviderError
from chat.providers.openai_compatible import Endpoint, OpenAICompatibleProvider
from chat.stream_state import EndReason
from tests.chat.heard import Resting, asking, failure, heard
from tests.corpus import hostile_text, plain_text, problems
from tests.scripted_endpoint import ScriptedEndpoint


@pytest.fixture
async def provider(endpoint: ScriptedEndpoint) -> AsyncIterator[OpenAICompatibleProvider]:
    at = Endpoint(endpoint.url, "canary-key", "scripted")
    provider = OpenAICompatibleProvider(at, connect_seconds=2, idle_seconds=0.4)
    yield provider
    await provider.aclose()


async def test_an_answer_comes_whole_with_its_usage(provider: OpenAICompatibleProvider) -> None:
    answer = await heard(provider, "scripted:?tokens=500")
    assert answer.text == plain_text(500)
    assert answer.finish == Finish(EndReason.COMPLETED, 9, 500)


async def test_hostile_text_comes_as_it_was_sent(provider: OpenAICompatibleProvider) -> None:
    assert (await heard(provider, "scripted:?tokens=40&corpus=hostile")).text == hostile_text(40)


@pytest.mark.parametrize("size", [1, 7])
async def test_bytes_cut_anywhere_make_the_same_text(provider: OpenAICompatibleProvider, size: int) -> None:
    answer = await heard(provider, f"scripted:?tokens=4&corpus=hostile&slice={size}")
    assert answer.text == hostile_text(4)
    assert answer.finish == Finish(EndReason.COMPLETED, 9, 4)


async def test_what_the_endpoint_is_asked(endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider) -> None:
    await heard(provider, "hello", temperature=0.5, seed=None, stop=["x"], model="evil", messages=[], url="http://evil")
    assert endpoint.records[0].body == {
        "model": "scripted",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 512,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "stop": ["x"],
    }
    assert endpoint.records[0].headers["authorization"] == "Bearer canary-key"


async def test_without_a_key_none_is_sent(endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider) -> None:
    provider.endpoint = replace(provider.endpoint, key="")
    await heard(provider, "hello")
    assert "authorization" not in endpoint.records[0].headers


async def test_without_a_model_the_first_listed_is_asked(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider
) -> None:
    provider.endpoint = replace(provider.endpoint, model="")
    endpoint.models = ["first", "second"]
    await heard(provider, "hello")
    assert endpoint.records[0].body["model"] == "first"


ENDS = [  # fault, tokens before it, finish
    ("no_done", 3, Finish(EndReason.COMPLETED)),
    ("no_done_open", 3, Finish(EndReason.COMPLETED)),
    ("usage_open", 3, Finish(EndReason.COMPLETED, 9, 3)),
    ("two_finishes", 3, Finish(EndReason.COMPLETED, 9, 3)),
    ("length", 3, Finish(EndReason.LENGTH, 9, 3)),
]


@pytest.mark.parametrize(("fault", "tokens", "finish"), ENDS)
async def test_an_odd_end_is_an_end(
    provider: OpenAICompatibleProvider, fault: str, tokens: int, finish: Finish
) -> None:
    answer = await heard(provider, f"scripted:?fault={fault}")
    assert (answer.text, answer.finish) == (plain_text(tokens), finish)


async def test_usage_that_never_comes_holds_up_the_end_by_a_second_only(endpoint: ScriptedEndpoint) -> None:
    patient = OpenAICompatibleProvider(Endpoint(endpoint.url, "", "m"), connect_seconds=9, idle_seconds=9)
    started = time.monotonic()
    await heard(patient, "scripted:?fault=no_done_open")
    assert time.monotonic() - started < 3
    await patient.aclose()


async def test_halved_pairs_are_joined(provider: OpenAICompatibleProvider) -> None:
    assert (await heard(provider, "scripted:?fault=split_surrogate&at=0")).text == "a😀b"
    assert (await heard(provider, "scripted:?fault=odd_text&at=0")).text == "nul\ufffd,low\ufffd,high\ufffd"


BEFORE_THE_FIRST_TOKEN = [  # fault, code, retryable, what the message says
    ("500", "provider_error", True, "status 500"),
    ("hang", "provider_timeout", True, "nothing for 0.4 s"),
    ("drop", "provider_unavailable", True, "without an answer"),
    ("not_http", "provider_error", False, "CHAT_PROVIDER_URL"),
    ("html", "provider_error", False, "text/html instead of an event stream"),
    ("json", "provider_error", False, "application/json instead of an event stream"),
    ("redirect", "provider_error", False, "redirects, which is not followed"),
    ("400", "provider_error", False, "temperature must be a number"),
    ("401", "provider_error", False, "set CHAT_PROVIDER_KEY"),
    ("403", "provider_error", False, "set CHAT_PROVIDER_KEY"),
    ("404", "provider_error", False, "CHAT_MODEL"),
    ("429", "provider_unavailable", True, "in 7 seconds"),
    ("503", "provider_unavailable", True, "in 7 seconds"),
]
IN_MID_STREAM = [
    ("hang_after", "provider_timeout", True, "nothing for 0.4 s"),
    ("reset", "provider_error", True, "broke off"),
    ("close", "provider_error", True, "broke off"),
    ("no_finish", "provider_error", True, "broke off"),
    ("done_only", "provider_error", True, "broke off"),
    ("half_json", "provider_error", True, "not a chat completion"),
    ("half_line", "provider_error", True, "broke off"),
    ("garbage", "provider_error", True, "not a chat completion"),
    ("deep", "provider_error", True, "not a chat completion"),
    ("big_line", "provider_error", True, "1 MiB"),
    ("error_frame", "provider_error", True, "The GPU has left"),
]


@pytest.mark.parametrize(("fault", "code", "retryable", "words"), BEFORE_THE_FIRST_TOKEN)
async def test_no_answer_is_told_with_what_to_do(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider, fault: str, code: str, retryable: bool, words: str
) -> None:
    error, text = await failure(provider, f"scripted:?fault={fault}")
    assert (error.code, error.retryable, text) == (code, retryable, "")
    assert words in error.message
    assert "canary-key" not in error.message
    assert len(endpoint.records) == 1, "asked again"
    await endpoint.until(lambda e: e.records[0].closed_at, timeout=1)


@pytest.mark.parametrize(("fault", "code", "retryable", "words"), IN_MID_STREAM)
async def test_a_broken_answer_is_an_error_after_its_tokens(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider, fault: str, code: str, retryable: bool, words: str
) -> None:
    error, text = await failure(provider, f"scripted:?fault={fault}&rate=200")
    assert (error.code, error.retryable) == (code, retryable)
    assert words in error.message
    assert text == plain_text(3)
    assert len(endpoint.records) == 1, "asked again"
    await endpoint.until(lambda e: e.records[0].closed_at, timeout=1)


@pytest.mark.parametrize("fault", ["context", "context_openai", "context_words", "context_frame"])
async def test_a_context_exceeded_is_told_apart(provider: OpenAICompatibleProvider, fault: str) -> None:
    error, _ = await failure(provider, f"scripted:?fault={fault}")
    assert isinstance(error, ContextExceeded)


async def test_a_model_that_wants_roles_to_alternate_gets_them_so(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider
) -> None:
    prompts = (ModelMessage("user", "Hello?"), ModelMessage("user", "scripted:?fault=alternate"))
    request = ModelRequest(prompts, "", 512)
    for _ in range(2):
        async with aclosing(provider.stream(request)) as answer:
            items = [item async for item in answer]
        assert isinstance(items[-1], Finish)
    asked = [[message["content"] for message in record.body["messages"]] for record in endpoint.records]
    merged = ["Hello?\n\nscripted:?fault=alternate"]
    assert asked == [["Hello?", "scripted:?fault=alternate"], merged, merged]


async def test_a_hundred_streams_do_not_wait_for_each_other(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider
) -> None:
    answers = await asyncio.gather(*(heard(provider, f"scripted:?tokens=10&rate=100&salt={n}") for n in range(100)))
    assert [problems(answer.text, 10, str(n)) for n, answer in enumerate(answers)] == [[]] * 100
    begun = [record.first_token_at or 0.0 for record in endpoint.records]
    finished = [record.finished_at or 0.0 for record in endpoint.records]
    assert max(begun) < min(finished), "some began only when others had ended"


async def test_models_are_listed_and_remembered_briefly(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider
) -> None:
    endpoint.models = ["a", "b"]
    assert await provider.models() == ["a", "b"]
    endpoint.models = ["c"]
    assert await provider.models() == ["a", "b"]


async def test_an_endpoint_without_a_list_has_the_model_that_was_set(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider
) -> None:
    provider.endpoint = replace(provider.endpoint, url=endpoint.url + "/nothing-here")
    assert await provider.models() == ["scripted"]
    provider.endpoint = replace(provider.endpoint, model="")
    with pytest.raises(ProviderError, match="CHAT_MODEL"):
        await provider.models()


async def test_it_tells_that_the_end_has_come_though_nobody_asks_for_it(provider: OpenAICompatibleProvider) -> None:
    rest = Resting()
    async with aclosing(provider.stream(asking("scripted:?tokens=20&rate=200"), rest)) as answer:
        assert await anext(answer)
        assert not rest.ended.is_set()
        async with asyncio.timeout(5):
            await rest.ended.wait()


async def test_an_end_that_came_with_the_last_tokens_is_told_before_them(provider: OpenAICompatibleProvider) -> None:
    """The connection stays open, so that nothing else tells of it."""
    rest = Resting()
    async with aclosing(provider.stream(asking("scripted:?tokens=3&rate=0&fault=no_done_open"), rest)) as answer:
        text = ""
        while text.count("⟩") < 3:
            assert not rest.ended.is_set()
            tokens = await anext(answer)
            assert isinstance(tokens, list)
            text += "".join(tokens)
        assert rest.ended.is_set()


@pytest.mark.parametrize("fault", ["close", "reset"])
async def test_what_came_before_a_cut_is_not_lost_though_it_is_read_after_it(
    provider: OpenAICompatibleProvider, fault: str
) -> None:
    rest, items = Resting(), list[Any]()
    prompt = f"scripted:?tokens=20&rate=200&fault={fault}&at=20"

    async def read(answer: AsyncGenerator[Any, None]) -> None:
        async for item in answer:
            items.append(item)

    async with aclosing(provider.stream(asking(prompt), rest)) as answer:
        items.append(await anext(answer))
        (response,) = provider._answers
        async with asyncio.timeout(5):
            while response.content.exception() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        with pytest.raises(ProviderError, match="broke off"):
            await read(answer)
    assert "".join(token for tokens in items for token in tokens) == plain_text(20)
    assert rest.ended.is_set()
