"""What an OpenAI-compatible endpoint says instead of an answer, told so that people know what to do. Pure."""

import json
import re
from typing import Any

from chat.providers.base import ContextExceeded, ProviderError
from chat.stream_state import EndReason

_CONTEXT_CODES = {"exceed_context_size_error", "context_length_exceeded"}  # llama.cpp, OpenAI
_CONTEXT_WORDS = re.compile(r"context (length|size|window)", re.IGNORECASE)  # vLLM, Ollama, LM Studio: in words only
_ALTERNATE_WORDS = re.compile(r"roles? must alternate|alternat\w* (user|roles)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_MAX_QUOTED = 300  # characters of the endpoint's own words

CONTEXT_EXCEEDED = "The conversation is longer than the model can take: lower CHAT_CONTEXT_TOKENS."
WRONG_URL = "check CHAT_PROVIDER_URL (it usually ends in /v1)"


class RolesMustAlternate(ProviderError):
    """The chat template of some models (Gemma, Mistral) refuses two messages of one role in a row."""

    def __init__(self) -> None:
        super().__init__(EndReason.PROVIDER_ERROR, "The model refuses two prompts in a row.")


def refusal(status: int, body: bytes, *, model: str, key: str, retry_after: str | None = None) -> ProviderError:
    """The error that an answer with this status other than 200 stands for."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    error = answer.get("error") or answer if isinstance(answer, dict) else answer
    if status in (401, 403):
        # Not quoted: some endpoints repeat the key.
        return ProviderError(EndReason.PROVIDER_ERROR, "The model endpoint refuses the key: set CHAT_PROVIDER_KEY.")
    if _is_context_exceeded(error):
        return ContextExceeded(CONTEXT_EXCEEDED)
    said = quoted(error, key)
    if _ALTERNATE_WORDS.search(said):
        return RolesMustAlternate()
    if status == 404:
        text = f"The model endpoint has no model {model!r}: set CHAT_MODEL to one of its models, or {WRONG_URL}.{said}"
        return ProviderError(EndReason.PROVIDER_ERROR, text)
    if status in (408, 429, 502, 503, 504):
        wait = (
            f"in {retry_after} seconds" if retry_after and retry_after.isascii() and retry_after.isdigit() else "soon"
        )
        text = f"The model endpoint is busy (status {status}): try again {wait}.{said}"
        return ProviderError(EndReason.PROVIDER_UNAVAILABLE, text, retryable=True)
    if 300 <= status < 400:
        text = f"The model endpoint redirects, which is not followed: {WRONG_URL}."
        return ProviderError(EndReason.PROVIDER_ERROR, text)
    if status >= 500:
        text = f"The model endpoint failed (status {status}): try again, or look at its log.{said}"
        return ProviderError(EndReason.PROVIDER_ERROR, text, retryable=True)
    return ProviderError(EndReason.PROVIDER_ERROR, f"The model endpoint refused the request (status {status}).{said}")


def broken_answer(error: Any, key: str) -> ProviderError:
    """The error that an error frame in mid-stream stands for."""
    if _is_context_exceeded(error):
        return ContextExceeded(CONTEXT_EXCEEDED)
    text = f"The model endpoint failed in the middle of the answer: try again.{quoted(error, key)}"
    return ProviderError(EndReason.PROVIDER_ERROR, text, retryable=True)


def _is_context_exceeded(error: Any) -> bool:
    if not isinstance(error, dict):
        return isinstance(error, str) and bool(_CONTEXT_WORDS.search(error))
    if _CONTEXT_CODES & {str(error.get("code")), str(error.get("type"))}:
        return True
    return bool(_CONTEXT_WORDS.search(str(error.get("message"))))


def quoted(error: Any, key: str) -> str:
    """What the endpoint says, on one short line and without the key; empty if it says nothing readable."""
    message = error.get("message") or error.get("detail") if isinstance(error, dict) else error
    if not isinstance(message, str):
        return ""
    line = " ".join(_CONTROL.sub(" ", message).split())
    if key:
        line = line.replace(key, "***")
    return f" It says: {line[:_MAX_QUOTED]}" if line else ""
