"""The use cases of a stream, for consumers, API, admin and shell: a prompt is answered, an answer is stopped."""

import asyncio
from collections import defaultdict
from collections.abc import Collection
from uuid import UUID

from asgiref.sync import async_to_sync
from django.conf import settings

from chat import registry
from chat.exceptions import ModelNotFound
from chat.models import Stream
from chat.prompt import PromptRequest
from chat.providers import get_provider
from chat.providers.base import ProviderError
from chat.stream_state import UNFINISHED
from chat.threads import in_thread
from chat.turns import Accepted
from events import bus

_MODELS_SECONDS = 2.0


async def answer(request: PromptRequest) -> Accepted:
    """See `Registry.answer`. Raises ModelNotFound too."""
    if request.model:
        await _must_exist(request.model)
    return await registry.current().answer(request)


async def stop(session_id: UUID, stream_id: UUID | None = None) -> bool:
    """See `Registry.stop`."""
    return await registry.current().stop(session_id, stream_id)


async def stop_all(stream_ids: Collection[UUID], streams: registry.Registry | None = None) -> int:
    """Stops these streams; how many of them were unfinished."""
    streams = streams or registry.current()
    stopped = 0
    for session_id, ids in (await in_thread(_by_session, stream_ids)).items():
        for stream_id in ids:
            stopped += await streams.stop(session_id, stream_id)
    return stopped


def stop_sync(stream_ids: Collection[UUID]) -> int:
    """`stop_all` for code that is not async. Outside the server the streams' process learns of it within 2 s."""
    return async_to_sync(_stop_all_once)(stream_ids)


async def _stop_all_once(stream_ids: Collection[UUID]) -> int:
    async with bus.for_this_call() as here:
        # A registry that outlived the bus of one call would refuse every prompt after it.
        streams = registry.current() if bus.exists() else registry.Registry(here)
        return await stop_all(stream_ids, streams)


def _by_session(stream_ids: Collection[UUID]) -> dict[UUID, list[UUID]]:
    sessions: dict[UUID, list[UUID]] = defaultdict(list)
    unfinished = Stream.objects.filter(id__in=stream_ids, state__in=UNFINISHED)
    for session_id, stream_id in unfinished.values_list("session_id", "id"):
        sessions[session_id].append(stream_id)
    return sessions


async def _must_exist(model: str) -> None:
    """A provider that cannot be asked, or lists nothing, gets the prompt: its answer says what is wrong."""
    if model == settings.CHAT_MODEL:
        return
    try:
        async with asyncio.timeout(_MODELS_SECONDS):
            names = await get_provider().models()
    except (ProviderError, TimeoutError):
        return
    if names and model not in names and f"{model}:latest" not in names:  # Ollama's names, which need no tag
        raise ModelNotFound(field="model")
