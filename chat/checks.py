"""Settings of the chat that would start and then fail: refused at the start, with what to do instead."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from chat.models import Stream
from chat.providers import provider_from_settings


def check_policy(**_: Any) -> Iterator[CheckMessage]:
    if settings.CHAT_IF_BUSY not in Stream.IfBusy.values:
        allowed = ", ".join(Stream.IfBusy.values)
        yield Error(f"CHAT_IF_BUSY={settings.CHAT_IF_BUSY} is no policy: use one of {allowed}.", id="chat.E001")


def check_provider(**_: Any) -> Iterator[CheckMessage]:
    try:
        provider_from_settings()
    except ImproperlyConfigured as error:
        yield Error(str(error), id="chat.E002")
        return
    url = settings.CHAT_PROVIDER_URL
    if url.startswith("http") and not urlsplit(url).hostname:
        yield Error(f"CHAT_PROVIDER_URL={url} names no host: give http://HOST:PORT/v1.", id="chat.E003")
