import pytest_asyncio

from tests.api.client import ApiClient, user


@pytest_asyncio.fixture
async def ada(transactional_db: None) -> ApiClient:
    return await ApiClient.with_key(await user("ada"))


@pytest_asyncio.fixture
async def grace(transactional_db: None) -> ApiClient:
    return await ApiClient.with_key(await user("grace"))
