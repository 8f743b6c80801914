"""A conversation with the scripted provider, in the test's own process and event loop."""

from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any

import pytest
import pytest_asyncio
from pytest_django.fixtures import Settings
from structlog.testing import capture_logs

from chat import registry
from chat.providers import close_provider
from events import bus
from tests.chat.conversation import Conversation
from tests.scripted_endpoint import ScriptedEndpoint

Logs = list[MutableMapping[str, Any]]


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    """A model's, for providers."""
    async with ScriptedEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def logs() -> Iterator[Logs]:
    """What is logged from here on."""
    with capture_logs() as lines:
        yield lines


@pytest_asyncio.fixture
async def spine(transactional_db: None, settings: Settings) -> AsyncIterator[None]:
    """Registry, bus and provider of the test's loop; closed after it as at the end of the server."""
    settings.CHAT_PROVIDER_URL = "scripted:?tokens=20&rate=1000"
    yield
    await registry.close_current(0.2)
    await bus.close_current()
    await close_provider()


@pytest_asyncio.fixture
async def talk(spine: None) -> AsyncIterator[Conversation]:
    """A fresh session with one viewer. After the test its history must be without a fault, whatever happened."""
    conversation = await Conversation.begin()
    yield conversation
    await conversation.leave()
    assert conversation.history.problems(ended=False) == []
