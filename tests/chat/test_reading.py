"""What a model is asked, and what becomes of whatever it does."""

from collections.abc import AsyncGenerator

import pytest
from pytest_django.fixtures import Settings

from chat.exceptions import ModelNotFound
from chat.providers.base import ContextExceeded, Finish, Loading, ModelRequest, ProviderError, Rest
from chat.stream_state import EndReason
from tests.chat.conversation import SILENT, Conversation

Items = AsyncGenerator[list[str] | Finish | Loading, None]


class Model:
    """A provider that sends what it was given, and fails as told."""

    name = "test"

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *items: list[str] | Exception | Loading) -> None:
        self.items, self.requests = items, list[ModelRequest]()
        self.closed = 0
        monkeypatch.setattr("chat.reading.get_provider", lambda: self)

    async def stream(self, request: ModelRequest, rest: Rest) -> Items:
        self.requests.append(request)
        try:
            for item in self.items:
                if isinstance(item, Exception):
                    raise item
                yield item
            yield Finish(EndReason.COMPLETED)
        finally:
            self.closed += 1


@pytest.mark.parametrize("code", ["provider_unavailable", "provider_timeout", "provider_error"])
async def test_a_model_that_fails_is_told_of_with_what_it_had_said(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    Model(monkeypatch, ["some ", "words"], ProviderError(EndReason(code), "Start it.", retryable=True))
    accepted = await talk.ask()
    assert await talk.end_of(accepted) == code
    told = talk.history[-1]
    assert (told.type, told.data["message"], told.data["retryable"]) == ("chat.error", "Start it.", True)
    stored = await talk.stored(accepted)
    assert stored.message is not None
    assert (stored.message.text, stored.state, stored.error_message) == ("some words", "failed", "Start it.")


async def test_a_fault_of_our_own_is_an_error_to_the_viewer_and_no_secret(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    Model(monkeypatch, RuntimeError("secret"))
    assert await talk.end_of(await talk.ask()) == "provider_error"
    assert "secret" not in str(talk.history)


async def test_a_model_that_loads_makes_the_prompt_wait(talk: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    Model(monkeypatch, Loading(), ["ready"])
    accepted = await talk.ask()
    assert await talk.end_of(accepted) == "completed"
    assert talk.history.kinds() == ["thinking", "prompt", "queued", "streaming", "token", "end"]


async def test_a_model_that_says_nothing_has_answered(talk: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    Model(monkeypatch)
    assert await talk.end_of(await talk.ask()) == "completed"
    assert talk.history.kinds() == ["thinking", "prompt", "end"]


async def test_the_model_is_given_what_was_said_before(talk: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted answer as far as it was seen, a prompt that was never answered, and nothing that was removed."""
    await talk.end_of(await talk.ask("scripted:?text=one&rate=0"))
    await talk.ask_and_hear("scripted:?text=two!&tokens=9&hang_after=1")
    await talk.ask_and_hear("scripted:?text=removed&hang_after=1")
    silent = await talk.ask(SILENT, if_busy="rollback")
    await talk.stop()
    await talk.end_of(silent)
    model = Model(monkeypatch, ["five"])
    await talk.end_of(await talk.ask("and now?"))
    [request] = model.requests
    assert [(message.role, message.content) for message in request.messages[1:]] == [
        ("user", "scripted:?text=one&rate=0"),
        ("assistant", "one"),
        ("user", "scripted:?text=two!&tokens=9&hang_after=1"),
        ("assistant", "two!"),
        ("user", SILENT),
        ("user", "and now?"),
    ]


async def test_options_are_given_to_the_model_and_its_answers_length_is_bounded(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.CHAT_MAX_TOKENS = 100
    model = Model(monkeypatch, ["short"])
    await talk.end_of(await talk.ask("?", options={"temperature": 0.5, "max_tokens": 1000}))
    await talk.end_of(await talk.ask("?", options={"max_tokens": 7}))
    assert [request.max_tokens for request in model.requests] == [100, 7]
    assert [request.options for request in model.requests] == [{"temperature": 0.5}, {}]


class Listing:
    """A provider that is only asked which models it has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str, fails: bool = False) -> None:
        self.names, self.fails = list(names), fails
        monkeypatch.setattr("chat.streams.get_provider", lambda: self)

    async def models(self) -> list[str]:
        if self.fails:
            raise ProviderError(EndReason.PROVIDER_UNAVAILABLE, "Start it.")
        return self.names


async def test_a_model_that_does_not_exist_is_refused_before_anything_is_stored(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    Listing(monkeypatch, "this", "that:latest")
    with pytest.raises(ModelNotFound):
        await talk.ask(model="another")
    assert await talk.messages() == []
    for model in ("this", "that", "that:latest"):
        assert (await talk.ask(model=model)).stream.model == model


@pytest.mark.parametrize("listing", [{"fails": True}, {}])
async def test_a_provider_that_cannot_say_what_it_has_is_asked_all_the_same(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch, listing: dict[str, bool]
) -> None:
    Listing(monkeypatch, **listing)
    assert await talk.end_of(await talk.ask(model="any")) == "completed"


async def test_too_much_context_is_tried_again_with_half(talk: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(monkeypatch, ContextExceeded("too long"))
    assert await talk.end_of(await talk.ask("word " * 200)) == "provider_error"
    first, second = (sum(len(message.content) for message in request.messages) for request in model.requests)
    assert second < 0.7 * first
    assert model.closed == 2


async def test_an_answer_that_has_begun_is_not_begun_again(talk: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(monkeypatch, ["once"], ContextExceeded("too long"))
    accepted = await talk.ask()
    assert await talk.end_of(accepted) == "provider_error"
    assert len(model.requests) == 1
    assert talk.history.text(accepted.stream.id) == "once"
