"""What is asked of an OpenAI-compatible endpoint. Pure."""

from collections.abc import Iterable
from itertools import groupby

import msgspec

from chat.providers.base import ModelMessage, ModelRequest

OPTIONS = ("temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty")


def request_body(request: ModelRequest, model: str, *, alternating: bool) -> bytes:
    """The JSON of a streamed chat completion. Raises ValueError for text that is no valid UTF-8."""
    messages = _alternating(request.messages) if alternating else request.messages
    options = {name: request.options[name] for name in OPTIONS if request.options.get(name) is not None}
    return msgspec.json.encode(
        {
            "model": model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "max_tokens": request.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            **options,
        }
    )


def _alternating(messages: Iterable[ModelMessage]) -> list[ModelMessage]:
    """Neighbours of one role as one message; they arise where a prompt was not answered."""
    return [
        ModelMessage(role, "\n\n".join(message.content for message in group))
        for role, group in groupby(messages, key=lambda message: message.role)
    ]
