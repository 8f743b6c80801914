"""Reads a model's answer into a stream's publisher."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

from django.conf import settings

from chat import metrics, wire
from chat.history import choose, halved
from chat.models import Stream
from chat.newest import newest_texts
from chat.providers import get_provider
from chat.providers.base import ContextExceeded, Finish, Loading, ModelMessage, ModelRequest, ProviderError
from chat.stream_state import EndReason, StreamState
from chat.threads import in_thread
from events.publisher import BatchingPublisher
from events.statements import fetch, key_of

_CHARACTERS_PER_TOKEN = 10  # at most, as `history.py` estimates: no more of them can fit


async def read_model(
    stream: Stream,
    publisher: BatchingPublisher,
    told_to_stop: Callable[[EndReason], object],
    said: Sequence[ModelMessage] | None = None,
) -> Finish:
    """How the model ended. Raises ProviderError; cancelled, it closes the connection to the model at once.

    `said`: what has been said up to the stream's prompt, if that is known; else it is read. Then `told_to_stop` is
    called, and cancels this, if somebody asked for it before this process listened for that.
    """
    if said is None:
        history, stop_requested = await in_thread(_history, stream)
        said = history
        if stop_requested:
            told_to_stop(EndReason(stop_requested))
            await asyncio.sleep(0)  # where the cancellation comes
    messages = choose(said, settings.CHAT_SYSTEM_PROMPT, settings.CHAT_CONTEXT_TOKENS)
    try:
        return await _read(stream, publisher, messages)
    except ContextExceeded:
        return await _read(stream, publisher, halved(messages))


async def _read(stream: Stream, publisher: BatchingPublisher, messages: tuple[ModelMessage, ...]) -> Finish:
    options = dict(stream.options)
    max_tokens = min(options.pop("max_tokens", settings.CHAT_MAX_TOKENS), settings.CHAT_MAX_TOKENS)
    request = ModelRequest(messages, stream.model or settings.CHAT_MODEL, max_tokens, options)
    begun = False
    async with aclosing(get_provider().stream(request, publisher.rest)) as items:
        try:
            async for item in items:
                if isinstance(item, list):
                    begun = True
                    publisher.add(*item)
                    if publisher.full:
                        await publisher.room()
                    elif publisher.rest.allowed:
                        await publisher.rest.until_needed()
                elif isinstance(item, Loading):
                    await publisher.publish(wire.status(stream, StreamState.QUEUED, position=0))
                else:
                    return item
        except ProviderError as error:
            metrics.provider_errors.add(1, error.code)
            if begun and isinstance(error, ContextExceeded):  # a second answer would follow the beginning of the first
                raise ProviderError(error.code, error.message) from error
            raise
    raise AssertionError("A provider ends with Finish or an error.")


def _history(stream: Stream) -> tuple[list[ModelMessage], str]:
    """What has been said up to the stream's prompt, and why it is to stop already; "" if it is not."""
    found = fetch("SELECT stop_requested FROM chat_stream WHERE id = %s", [key_of(stream.id)])
    texts = newest_texts(stream.session_id, _CHARACTERS_PER_TOKEN * settings.CHAT_CONTEXT_TOKENS, 2 * stream.turn)
    return [ModelMessage(role, text) for role, text in reversed(texts)], found[0][0] if found else ""
