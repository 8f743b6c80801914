"""What is accepted as a prompt, and which field is blamed if not."""

import json
from typing import Any
from uuid import uuid4

import pytest
from pytest_django.fixtures import Settings

from chat.exceptions import InvalidRequest, UnsupportedMediaType
from chat.prompt import PROMPT_MAX_CHARACTERS, PromptRequest, parse_prompt

JSON = "application/json"


def parsed(body: bytes | dict[str, Any], content_type: str = JSON, **options: Any) -> PromptRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"idempotency_key": "", "default_on_disconnect": "cancel", **options}
    return parse_prompt(raw, content_type, uuid4(), "user:1", **fields)


def test_a_prompt_alone_gets_the_defaults(settings: Settings) -> None:
    settings.CHAT_IF_BUSY = "enqueue"
    request = parsed({"prompt": " What? "})
    assert (request.text, request.if_busy, request.on_disconnect) == (" What? ", "enqueue", "cancel")
    assert (request.model, request.options) == ("", {})


def test_everything_that_may_be_said() -> None:
    options = {"temperature": 0.5, "max_tokens": 10, "stop": ["."], "seed": 1}
    said = {"prompt": "?", "model": "m", "if_busy": "rollback", "on_disconnect": "continue", "options": options}
    request = parsed(said, "application/json; charset=utf-8", idempotency_key="k")
    assert (request.model, request.if_busy, request.on_disconnect) == ("m", "rollback", "continue")
    assert request.options == options
    assert request.idempotency_key == "k"


def test_what_no_database_stores_is_replaced() -> None:
    request = parsed({"prompt": "nul \0", "model": "\0", "options": {"stop": ["\0", "."]}}, idempotency_key="\0")
    assert (request.text, request.model, request.idempotency_key) == ("nul \ufffd", "\ufffd", "\ufffd")
    assert request.options == {"stop": ["\ufffd", "."]}


def test_the_same_body_has_the_same_digest_and_another_has_another() -> None:
    digests = [parsed(body).body_digest for body in (b'{"prompt":"a"}', b'{"prompt":"a"}', b'{"prompt":"b"}')]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"{", None),
        (b'"text"', None),
        (b"[]", None),
        (b"\xff\xfe", None),
        (b'{"prompt": NaN}', None),
        (b'{"prompt": "\\ud800"}', None),
        (b'{"prompt":' + b"[" * 100_000, None),
        (b'{"prompt":' + b"[" * 40 + b"]" * 40 + b"}", "prompt"),
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": " \n\t"}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": ["?"]}, "prompt"),
        ({"prompt": "x" * (PROMPT_MAX_CHARACTERS + 1)}, "prompt"),
        ({"prompt": "?", "model": "m" * 201}, "model"),
        ({"prompt": "?", "if_busy": "wait"}, "if_busy"),
        ({"prompt": "?", "on_disconnect": "stop"}, "on_disconnect"),
        ({"prompt": "?", "options": {"temperature": "hot"}}, "options.temperature"),
        ({"prompt": "?", "options": {"temperature": 3}}, "options.temperature"),
        ({"prompt": "?", "options": {"max_tokens": 0}}, "options.max_tokens"),
        ({"prompt": "?", "options": {"seed": 2**60}}, "options.seed"),
        ({"prompt": "?", "options": {"url": "http://evil.example"}}, "options.url"),
        ({"prompt": "?", "options": 7}, "options"),
        ({"prompt": "?", "url": "http://evil.example"}, "url"),
    ],
)
def test_what_is_no_prompt_is_refused_and_the_field_named(body: bytes | dict[str, Any], field: str | None) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parsed(body)
    assert refused.value.field == field
    assert len(refused.value.message) < 400


@pytest.mark.parametrize("stop", ["", "x" * 101, 7, {}, [""], ["x" * 101], [7], ["."] * 5])
def test_the_texts_that_stop_an_answer_are_one_to_four_short_ones(stop: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parsed({"prompt": "?", "options": {"stop": stop}})
    assert refused.value.field == "options.stop"
    assert refused.value.message.startswith("options.stop: give a text of 1 to 100 characters, or a list of")


@pytest.mark.parametrize(
    ("body", "message"),
    [([], "The body must be a JSON object."), ({"prompt": "?", "options": 7}, "options must be a JSON object.")],
)
def test_what_must_be_an_object_is_told_so(body: Any, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parsed(json.dumps(body).encode())
    assert refused.value.message == message


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_does_not_call_itself_json_is_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        parsed({"prompt": "?"}, content_type)


def test_an_idempotency_key_has_a_limit() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parsed({"prompt": "?"}, idempotency_key="k" * 201)
    assert refused.value.field == "Idempotency-Key"
