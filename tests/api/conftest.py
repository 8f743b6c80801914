from collections.abc import AsyncIterator

import pytest_asyncio

from chat import registry
from events import bus
from tests.api.client import ApiClient, user


@pytest_asyncio.fixture
async def database(transactional_db: None) -> AsyncIterator[None]:
    """For tests of the API: what the requests made in this loop is closed after them, as at the end of the server."""
    yield
    await registry.close_current(0.2)
    await bus.close_current()


@pytest_asyncio.fixture
async def ada(database: None) -> ApiClient:
    return await ApiClient.with_key(await user("ada"))


@pytest_asyncio.fixture
async def grace(database: None) -> ApiClient:
    return await ApiClient.with_key(await user("grace"))
