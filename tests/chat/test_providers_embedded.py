"""The embedded model: found through its file, waited for while it loads, told apart when it is down."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chat.providers import embedded
from chat.providers.base import Finish, Loading, ProviderError
from chat.providers.embedded import EmbeddedProvider, ModelFile
from chat.stream_state import EndReason
from tests.chat.heard import asking, failure, heard
from tests.corpus import plain_text
from tests.scripted_endpoint import ScriptedEndpoint

UNREACHABLE = "http://127.0.0.1:9/v1"


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    return tmp_path / "model.json"


@pytest.fixture
async def provider(model_file: Path) -> AsyncIterator[EmbeddedProvider]:
    provider = EmbeddedProvider(model_file, connect_seconds=2, idle_seconds=5)
    yield provider
    await provider.aclose()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "PATIENCE_SECONDS", dict.fromkeys(embedded.PATIENCE_SECONDS, 0.2))


async def say(model_file: Path, state: str, url: str) -> None:
    """Replace the file as `serve_model` does."""
    text = json.dumps({"url": url, "key": "k", "model": "smollm2", "state": state, "pid": 1})
    await asyncio.to_thread(model_file.with_suffix(".new").write_text, text)
    await asyncio.to_thread(model_file.with_suffix(".new").replace, model_file)


async def test_a_ready_model_answers(endpoint: ScriptedEndpoint, provider: EmbeddedProvider, model_file: Path) -> None:
    await say(model_file, "ready", endpoint.url)
    answer = await heard(provider, "scripted:?tokens=30")
    assert (answer.text, answer.loading) == (plain_text(30), 0)
    assert endpoint.records[0].body["model"] == "smollm2"
    assert endpoint.records[0].headers["authorization"] == "Bearer k"


@pytest.mark.parametrize("before", ["loading", "down", "unreachable", "missing"])
async def test_a_prompt_waits_until_the_model_is_ready(
    endpoint: ScriptedEndpoint, provider: EmbeddedProvider, model_file: Path, before: str
) -> None:
    if before != "missing":
        await say(model_file, before.replace("unreachable", "ready"), UNREACHABLE)
    answer = provider.stream(asking("scripted:?tokens=30"))
    assert await anext(answer) == Loading()
    await say(model_file, "ready", endpoint.url)
    items = [item async for item in answer]
    assert Loading() not in items
    assert isinstance(items[-1], Finish)


async def test_it_is_told_once_that_a_prompt_waits(
    endpoint: ScriptedEndpoint, provider: EmbeddedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter(["missing", "down", "loading", "ready"])
    monkeypatch.setattr(embedded, "read_model_file", lambda _: ModelFile(endpoint.url, "k", "m", next(states)))
    assert (await heard(provider, "scripted:?tokens=3")).loading == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("state", ["loading", "down", "unreachable", "missing"])
async def test_a_model_that_does_not_come_is_told_with_what_to_do(
    provider: EmbeddedProvider, model_file: Path, state: str
) -> None:
    if state != "missing":
        await say(model_file, state.replace("unreachable", "ready"), UNREACHABLE)
    error, _ = await failure(provider, "hello")
    assert error.code is EndReason.PROVIDER_UNAVAILABLE
    assert "python manage.py serve_model" in error.message


async def test_what_is_wrong_with_the_model_is_told_in_its_own_words(
    provider: EmbeddedProvider, model_file: Path, impatient: None
) -> None:
    text = json.dumps({"state": "down", "message": "There is no file at CHAT_MODEL_PATH=x."})
    await asyncio.to_thread(model_file.write_text, text)
    error, _ = await failure(provider, "Hello")
    assert (error.code, error.message) == (EndReason.PROVIDER_UNAVAILABLE, "There is no file at CHAT_MODEL_PATH=x.")


async def test_a_file_that_makes_no_sense_is_no_file(model_file: Path) -> None:
    await asyncio.to_thread(model_file.write_text, '{"url": 5}')
    assert (await asyncio.to_thread(embedded.read_model_file, model_file)).state == "missing"


async def test_a_model_that_was_started_again_elsewhere_is_found(provider: EmbeddedProvider, model_file: Path) -> None:
    for _ in range(2):
        async with ScriptedEndpoint() as somewhere:
            await say(model_file, "ready", somewhere.url)
            assert (await heard(provider, "scripted:?tokens=3")).text == plain_text(3)


async def test_a_refusal_is_not_waited_on(
    endpoint: ScriptedEndpoint, provider: EmbeddedProvider, model_file: Path
) -> None:
    await say(model_file, "ready", endpoint.url)
    error, _ = await failure(provider, "scripted:?fault=500")
    assert error.code is EndReason.PROVIDER_ERROR
    assert len(endpoint.records) == 1


async def test_leaving_while_it_streams_closes_the_connection(
    endpoint: ScriptedEndpoint, provider: EmbeddedProvider, model_file: Path
) -> None:
    await say(model_file, "ready", endpoint.url)
    answer = provider.stream(asking("scripted:?rate=50&tokens=5000"))
    await anext(answer)
    await answer.aclose()
    await endpoint.until(lambda e: e.records[0].closed_at, timeout=0.5)


async def test_its_name_is_known_while_it_loads(
    endpoint: ScriptedEndpoint, provider: EmbeddedProvider, model_file: Path
) -> None:
    with pytest.raises(ProviderError, match="serve_model"):
        await provider.models()
    await say(model_file, "loading", endpoint.url)
    assert await provider.models() == ["smollm2"]
    await say(model_file, "ready", endpoint.url)
    assert await provider.models() == ["scripted"]
