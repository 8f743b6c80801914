"""What the scripted endpoint sends, as pure data: answers to a chat completion, whole and broken in every known way."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain
from typing import Any
from urllib.parse import parse_qsl

from tests import corpus


class Act(Enum):
    """What is done instead of sending."""

    END = auto()  # HTTP's own end of a body; the connection may be used again
    HANG = auto()  # nothing more, the connection stays open
    CLOSE = auto()  # FIN
    RESET = auto()  # RST


@dataclass(frozen=True)
class Script:
    """One answer, as `scripted:?tokens=100&rate=50` says it."""

    tokens: int = 20
    rate: float = 0  # tokens a second; 0: as fast as they are taken
    first_delay: float = 0  # seconds before anything is sent, the status too
    corpus: str = "plain"  # plain, timed, hostile
    salt: str = ""
    fault: str = ""  # see FAULTS and REFUSALS
    at: int = 3  # the fault comes after so many tokens
    slice: int = 0  # bytes that are written at once; 0: all that are due
    retry_after: int = 7

    @classmethod
    def parse(cls, text: str) -> "Script":
        values: dict[str, Any] = {}
        for name, value in parse_qsl(text.partition("?")[2], strict_parsing=True):
            kind = {"rate": float, "first_delay": float, "corpus": str, "salt": str, "fault": str}.get(name, int)
            values[name] = kind(value)
        return cls(**values)


def _error(message: str, **fields: Any) -> bytes:
    return json.dumps({"error": {"message": message, **fields}}).encode()


REFUSALS: dict[str, tuple[int, str, bytes]] = {
    "400": (400, "application/json", _error("temperature must be a number", type="invalid_request_error")),
    "401": (401, "application/json", _error("Incorrect API key provided", code="invalid_api_key")),
    "403": (403, "application/json", _error("No access")),
    "404": (404, "application/json", _error("The model does not exist", code="model_not_found")),
    "429": (429, "application/json", _error("Rate limit reached", type="rate_limit_error")),
    "500": (500, "text/plain", b"Internal Server Error"),
    "503": (503, "application/json", _error("Loading model", type="unavailable_error", code=503)),
    "alternate": (500, "application/json", _error("Conversation roles must alternate user/assistant")),
    "redirect": (302, "text/plain", b""),
    "html": (200, "text/html", b"<!doctype html><h1>It works</h1>"),
    "json": (200, "application/json", b'{"choices":[{"message":{"content":"whole"}}]}'),
    "context": (400, "application/json", _error("too long", type="exceed_context_size_error", code=400)),
    "context_openai": (400, "application/json", _error("too long", code="context_length_exceeded")),
    "context_words": (400, "application/json", _error("This model's maximum context length is 4096 tokens.")),
}


def frame(choice: dict[str, Any] | None = None, **more: Any) -> bytes:
    choices = [] if choice is None else [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": None, **choice}]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted"}
    return b"data: %b\n\n" % json.dumps({**head, "choices": choices, **more}, ensure_ascii=False).encode()


def delta(text: str) -> bytes:
    return frame({"delta": {"content": text}})


def finish(reason: str) -> bytes:
    return frame({"finish_reason": reason})


OPENING = frame({"delta": {"role": "assistant", "content": ""}})
DONE = b"data: [DONE]\n\n"
_HEAD, _TAIL = delta("@").split(b"@")


def token(script: Script, k: int) -> str:
    if script.corpus == "hostile":
        return corpus.hostile_token(k, script.salt)
    return corpus.token_text(k, script.salt, sent_at=time.monotonic() if script.corpus == "timed" else None)


def token_frame(script: Script, k: int) -> bytes:
    """The frame of one token, made when it is due. Cheap: it shares two cores with the server under test."""
    if script.corpus == "hostile":
        return delta(token(script, k))
    return _HEAD + token(script, k).encode() + _TAIL


def usage(tokens: int) -> bytes:
    return frame(usage={"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens})


# What follows the first `at` tokens, instead of all that would.
FAULTS: dict[str, tuple[bytes | Act, ...]] = {
    "hang_after": (Act.HANG,),
    "reset": (delta("half")[:-20], Act.RESET),
    "close": (delta("half")[:-20], Act.CLOSE),
    "no_finish": (),
    "done_only": (DONE,),
    "no_done": (finish("stop"),),
    "no_done_open": (finish("stop"), Act.HANG),
    "usage_open": (finish("stop"), usage(3), Act.HANG),
    "length": (finish("length"), usage(3), DONE),
    "half_json": (b'data: {"choices":[{"del\n\n', delta("more"), finish("stop"), DONE),
    "half_line": (b'data: {"choices":[{"del',),
    "garbage": (b"data: \xff\xfe\x00\x01\n\n", finish("stop"), DONE),
    "deep": (b"data: " + b"[" * 200_000 + b"\n\n", finish("stop"), DONE),
    "big_line": (b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 10_000_000, b'"}}]}\n\n', DONE),
    "error_frame": (b"data: " + _error("The GPU has left", code=500) + b"\n\n",),
    "context_frame": (b"data: " + _error("the context length is exceeded", code=400) + b"\n\n",),
    "two_finishes": (finish("stop"), delta("too late"), finish("length"), usage(3), DONE),
    "split_surrogate": (
        rb'data: {"choices":[{"delta":{"content":"a\ud83d"}}]}' + b"\n\n",
        rb'data: {"choices":[{"delta":{"content":"\ude00b"}}]}' + b"\n\n",
        finish("stop"),
        DONE,
    ),
    "odd_text": (
        b'data: {"choices":[{"delta":{"content":"nul\\u0000,"}}]}\n\n',
        rb'data: {"choices":[{"delta":{"content":"low\ude00,"}}]}' + b"\n\n",
        rb'data: {"choices":[{"delta":{"content":"high\ud83d"}}]}' + b"\n\n",
        finish("stop"),
        DONE,
    ),
}


def parts(script: Script) -> Iterator[int | bytes | Act]:
    """What a streamed answer consists of: tokens, by their number, at the script's rate; all else without delay."""
    last = min(script.at, script.tokens) if script.fault else script.tokens
    ending = FAULTS[script.fault] if script.fault else (finish("stop"), usage(last), DONE)
    return chain([OPENING], range(last), ending, [Act.END])


def whole(script: Script) -> bytes:
    """The answer of a request that is not streamed."""
    text = "".join(token(script, k) for k in range(script.tokens))
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "choices": [choice]}).encode()
