"""Reads one streamed chat completion from its bytes. Pure: no network, no clock.

This is the hot path: it costs a few microseconds a token, and all tokens that came in one read are handled in one go.
"""

import json
from typing import Any

import msgspec

from chat.providers.base import Finish, ProviderError
from chat.providers.openai_errors import broken_answer
from chat.stream_state import EndReason
from events.core.sse import Decoder, FrameTooLarge

MAX_FRAME_BYTES = 1 << 20  # a token of 64 KB, escaped, has at most 384 KB


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class AnswerReader:
    """Feed it what arrives; when `complete`, or at the end of the body, ask for the `finish`.

    `feed` never raises: what was wrong is in `error`, so that the tokens before it are not lost.
    """

    def __init__(self, key: str = "") -> None:
        self.error: ProviderError | None = None
        self.finished = False  # the model has ended; its usage may still follow
        self.complete = False  # nothing worth reading follows
        self._key = key
        self._frames = Decoder(max_line_bytes=MAX_FRAME_BYTES)
        self._half_pair = ""  # a high surrogate at the end of a delta, whose other half may open the next one
        self._reason = ""
        self._usage: _Usage | None = None

    @property
    def ended(self) -> bool:
        """Whether no token follows."""
        return self.finished or self.complete

    def feed(self, chunk: bytes) -> list[str]:
        """The tokens that this chunk completes, in order."""
        tokens: list[str] = []
        try:
            for frame in self._frames.feed(chunk):
                data = frame.data
                if data == "[DONE]":
                    self.complete = True
                    break
                self._read(data, tokens)
                if self.error:
                    self.complete = True
                    break
        except FrameTooLarge:
            self._fail(f"The model endpoint sent a line of more than {MAX_FRAME_BYTES >> 20} MiB.")
        if self.finished and self._usage is not None:
            self.complete = True
        return tokens

    def finish(self) -> Finish:
        """How the model ended. Raises ProviderError if it did not: its answer was cut, or is none at all."""
        if not self.finished:
            text = "The model's answer broke off before its end: try again."
            raise self.error or ProviderError(EndReason.PROVIDER_ERROR, text, retryable=True)
        reason = EndReason.LENGTH if self._reason == "length" else EndReason.COMPLETED
        usage = self._usage or _Usage()
        return Finish(reason, usage.prompt_tokens, usage.completion_tokens)

    def _read(self, data: str, tokens: list[str]) -> None:
        unclean = False
        try:
            chunk = _decode(data)
        except msgspec.DecodeError:
            unclean = True
            chunk = self._read_leniently(data)
        if chunk.error:
            self.error = broken_answer(chunk.error, self._key)
            return
        if chunk.usage is not None:
            self._usage = chunk.usage
        for choice in chunk.choices or ():
            if choice.index or self.finished:  # one answer was asked for, and the first end counts
                continue
            if choice.delta is not None and (text := choice.delta.content):
                if unclean or self._half_pair or "\0" in text:
                    text = self._clean(text)
                if text:
                    tokens.append(text)
            if choice.finish_reason:
                self.finished = True
                self._reason = choice.finish_reason
                if self._half_pair:
                    self._half_pair = ""
                    tokens.append("\ufffd")

    def _read_leniently(self, data: str) -> _Chunk:
        """What msgspec refuses and others let pass: lone surrogates, raw control characters, no text at all."""
        if not data.strip():
            return _Chunk()
        try:
            return msgspec.convert(json.loads(data, strict=False), _Chunk)
        except (ValueError, RecursionError, msgspec.MsgspecError):
            self._fail("The model endpoint sent what is not a chat completion: check CHAT_PROVIDER_URL.")
            return _Chunk()

    def _clean(self, text: str) -> str:
        """Without NUL and lone surrogates, which neither UTF-8 nor PostgreSQL can hold; halved pairs are joined."""
        text = self._half_pair + text.replace("\0", "\ufffd")
        self._half_pair = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        if self._half_pair:
            text = text[:-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def _fail(self, text: str) -> None:
        self.complete = True
        self.error = ProviderError(EndReason.PROVIDER_ERROR, text, retryable=True)
