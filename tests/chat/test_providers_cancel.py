"""A stream that is left, at any time, leaves no connection to the model, and what is not read is not held."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from chat.providers.base import ProviderError
from chat.providers.openai_compatible import Endpoint, OpenAICompatibleProvider
from tests.chat.heard import Heard, asking, heard
from tests.scripted_endpoint import ScriptedEndpoint


@pytest.fixture
async def provider(endpoint: ScriptedEndpoint) -> AsyncIterator[OpenAICompatibleProvider]:
    at = Endpoint(endpoint.url, "canary-key", "scripted")
    provider = OpenAICompatibleProvider(at, connect_seconds=2, idle_seconds=0.4)
    yield provider
    await provider.aclose()


async def left(provider: OpenAICompatibleProvider, prompt: str) -> asyncio.Task[Heard]:
    """A stream under way in a task of its own, to be cancelled."""
    return asyncio.create_task(heard(provider, prompt))


async def cancelled(task: asyncio.Task[Heard]) -> float:
    """When it was cancelled; it has ended on return."""
    at = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return at


@pytest.mark.parametrize("prompt", ["scripted:?fault=hang", "scripted:?first_delay=9", "scripted:?rate=50&tokens=5000"])
async def test_cancelling_closes_the_connection_at_once(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider, prompt: str
) -> None:
    task = await left(provider, prompt)
    await endpoint.until(lambda e: e.records and (e.records[0].tokens_sent >= 3 or "rate" not in prompt))
    at = await cancelled(task)
    await endpoint.until(lambda e: e.records[0].closed_at, timeout=1)
    assert endpoint.records[0].closed_at is not None
    assert endpoint.records[0].closed_at - at < 0.25
    assert endpoint.records[0].finished_at is None


async def test_cancelling_before_the_endpoint_accepts_leaves_no_connection() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        listening.setblocking(False)
        at = Endpoint(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", "", "m")
        provider = OpenAICompatibleProvider(at, connect_seconds=5, idle_seconds=5)
        task = await left(provider, "hello")
        connection, _ = await loop.sock_accept(listening)  # the system had accepted it before
        await cancelled(task)
        with connection:
            async with asyncio.timeout(1):
                while await loop.sock_recv(connection, 65536):
                    pass
        await provider.aclose()


async def test_closing_the_generator_closes_the_connection_at_once(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider
) -> None:
    answer = provider.stream(asking("scripted:?rate=50&tokens=5000"))
    first = await anext(answer)
    assert isinstance(first, list)
    await answer.aclose()
    await endpoint.until(lambda e: e.records[0].closed_at, timeout=0.5)


async def test_closing_the_provider_ends_what_runs(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider
) -> None:
    running = await left(provider, "scripted:?rate=50&tokens=5000")
    waiting = await left(provider, "scripted:?first_delay=9")
    await endpoint.until(lambda e: len(e.records) == 2 and any(record.tokens_sent > 3 for record in e.records))
    await provider.aclose()
    async with asyncio.timeout(1):
        with pytest.raises(ProviderError, match="broke off"):
            await running
        with pytest.raises(ProviderError, match="without an answer"):
            await waiting
    with pytest.raises(ProviderError, match="shutting down"):
        await heard(provider, "hello")


async def test_a_reader_that_stops_reading_slows_the_model_in_bounds(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider
) -> None:
    answer = provider.stream(asking("scripted:?tokens=1000000"))
    await anext(answer)
    await endpoint.until(lambda e: any(connection.paused for connection in e.connections))
    assert endpoint.records[0].tokens_sent < 100_000
    await answer.aclose()
