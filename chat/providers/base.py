"""Where tokens come from: the protocol between a stream and whatever speaks for a model."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from chat.stream_state import EndReason


@dataclass(frozen=True, slots=True)
class Finish:
    """The model has ended by itself. `reason` is `completed` or `length`; counts are None when not told."""

    reason: EndReason
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Loading:
    """The model is still loading; tokens follow later (the waiting prompt is told `queued`)."""


@dataclass(frozen=True, slots=True)
class ModelMessage:
    role: str  # "system", "user" or "assistant"
    content: str


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What a model is asked. `model` "" is the provider's default; options not on the provider's list are left out."""

    messages: tuple[ModelMessage, ...]
    model: str
    max_tokens: int
    options: Mapping[str, Any] = field(default_factory=dict)


class ProviderError(Exception):
    """The model could not answer, or not to the end.

    `code` is one of `provider_unavailable`, `provider_timeout`, `provider_error`; `message` is written for people
    and says what to do; `retryable` says whether the same request may succeed a little later.
    """

    def __init__(self, code: EndReason, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable


class ContextExceeded(ProviderError):
    """The messages are longer than the model can take: try with fewer."""

    def __init__(self, message: str) -> None:
        super().__init__(EndReason.PROVIDER_ERROR, message)


class Rest(Protocol):
    """Of who reads an answer; the provider tells it what it needs for that (`events/resting.py`)."""

    def reads(self, read: Callable[[], Sequence[str]]) -> None:
        """`read` gives, without waiting, the tokens that have come since the last yield or read.

        None if none has, or if it is for the generator to go on: at the end, and if something went wrong. What it
        raises ends the answer. It is called only while the generator stands at a yield.
        """
        ...

    def end(self) -> None:
        """The end of the answer has come."""
        ...


class NoRest:
    """For who reads all that comes as it comes."""

    def reads(self, read: Callable[[], Sequence[str]]) -> None:
        pass

    def end(self) -> None:
        pass


NO_REST = NoRest()


class Provider(Protocol):
    """Speaks for one model endpoint. Belongs to the event loop it was first used on."""

    name: str

    async def models(self) -> list[str]:
        """The names of the models that may be asked; raises ProviderError."""
        ...

    def stream(self, request: ModelRequest, rest: Rest = NO_REST) -> AsyncGenerator[list[str] | Finish | Loading, None]:
        """The answer, as it comes.

        Yields at most one Loading before anything else, then non-empty lists of tokens (all that arrived in one
        read, in order), and last exactly one Finish; or raises ProviderError, after any number of tokens. A token is
        a piece of text as the endpoint sent it: not empty, valid UTF-8, no NUL, no lone surrogate.
        Whoever asks for the next item may take its time.
        `aclose()` or cancellation, at any time (before the first token too) closes the connection to the model at once.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections; streams that still run end with ProviderError."""
        ...
