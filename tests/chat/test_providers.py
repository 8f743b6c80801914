"""The settings choose the provider, and each event loop has its own."""

import asyncio

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django.fixtures import Settings

from chat.providers import close_provider, get_provider
from chat.providers.openai_compatible import OpenAICompatibleProvider


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("", "embedded"),
        ("http://127.0.0.1:1/v1", "openai_compatible"),
        ("https://models.example/v1", "openai_compatible"),
        ("scripted:", "scripted"),
        ("scripted:?tokens=5", "scripted"),
    ],
)
async def test_the_address_chooses_the_provider(settings: Settings, url: str, name: str) -> None:
    settings.CHAT_PROVIDER_URL = url
    assert get_provider().name == name
    await close_provider()


async def test_address_key_and_model_come_from_the_settings(settings: Settings) -> None:
    settings.CHAT_PROVIDER_URL = "http://127.0.0.1:1/v1"
    settings.CHAT_PROVIDER_KEY = "k"
    settings.CHAT_MODEL = "m"
    provider = get_provider()
    assert isinstance(provider, OpenAICompatibleProvider)
    assert (provider.endpoint.url, provider.endpoint.key, provider.endpoint.model) == (
        "http://127.0.0.1:1/v1",
        "k",
        "m",
    )
    await close_provider()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "127.0.0.1:8080", "scripted:?speed=1"])
async def test_an_address_that_makes_no_sense_is_refused(settings: Settings, url: str) -> None:
    settings.CHAT_PROVIDER_URL = url
    with pytest.raises(ImproperlyConfigured, match="CHAT_PROVIDER_URL"):
        get_provider()


async def test_a_loop_keeps_its_provider_until_it_is_closed(settings: Settings) -> None:
    settings.CHAT_PROVIDER_URL = "scripted:"
    first = get_provider()
    assert get_provider() is first
    await close_provider()
    await close_provider()
    assert get_provider() is not first
    await close_provider()


def test_each_loop_has_its_own(settings: Settings) -> None:
    settings.CHAT_PROVIDER_URL = "scripted:"

    async def made() -> object:
        return get_provider()

    assert asyncio.run(made()) is not asyncio.run(made())
