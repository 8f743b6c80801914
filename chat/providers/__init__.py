"""Where tokens come from. The settings choose one provider; each event loop has its own."""

import asyncio
from pathlib import Path
from weakref import WeakKeyDictionary

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from chat.model_choice import PACKAGED_MODEL
from chat.providers.base import Provider
from chat.providers.embedded import EmbeddedProvider
from chat.providers.openai_compatible import Endpoint, OpenAICompatibleProvider
from chat.providers.scripted import Script, ScriptedProvider

_providers: WeakKeyDictionary[asyncio.AbstractEventLoop, Provider] = WeakKeyDictionary()


def get_provider() -> Provider:
    """The provider of the running event loop, made when first asked for. `close_provider` before the loop ends."""
    loop = asyncio.get_running_loop()
    if loop not in _providers:
        _providers[loop] = provider_from_settings()
    return _providers[loop]


async def close_provider() -> None:
    """Close the running loop's provider, if it has one; the next `get_provider` makes a new one."""
    if provider := _providers.pop(asyncio.get_running_loop(), None):
        await provider.aclose()


def default_model() -> str:
    """The model that answers when a prompt names none; "" if only the endpoint knows."""
    if settings.CHAT_MODEL or settings.CHAT_PROVIDER_URL:
        return str(settings.CHAT_MODEL)
    return Path(settings.CHAT_MODEL_PATH).stem or PACKAGED_MODEL


def provider_from_settings() -> Provider:
    """The provider that CHAT_PROVIDER_URL names. Raises ImproperlyConfigured."""
    url: str = settings.CHAT_PROVIDER_URL
    connect_seconds = settings.CHAT_PROVIDER_CONNECT_SECONDS
    idle_seconds = settings.CHAT_PROVIDER_IDLE_SECONDS
    if not url:
        path = settings.DATA_DIR / "model.json"
        return EmbeddedProvider(path, connect_seconds=connect_seconds, idle_seconds=idle_seconds)
    if url.startswith("scripted:"):
        try:
            return ScriptedProvider(Script.parse(url))
        except ValueError as error:
            raise ImproperlyConfigured(f"CHAT_PROVIDER_URL: {error}") from None
    if url.startswith(("http://", "https://")):
        endpoint = Endpoint(url, settings.CHAT_PROVIDER_KEY, settings.CHAT_MODEL)
        return OpenAICompatibleProvider(endpoint, connect_seconds=connect_seconds, idle_seconds=idle_seconds)
    raise ImproperlyConfigured(
        f"CHAT_PROVIDER_URL={url!r} is no address of a model: give http://…/v1 or https://…/v1, "
        "or leave it out for the embedded model"
    )
