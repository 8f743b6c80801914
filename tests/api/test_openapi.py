"""The OpenAPI text knows every route, those of the consumers too."""

import re
from typing import Any

from django.urls import URLPattern

from chat.openapi import document
from chat.urls import stream_urlpatterns
from tests.api.client import ApiClient
from tests.api.test_access import routes

CONSUMER_ROUTES = {
    ("POST", "/api/sessions/{session_id}/streams/"),
    ("GET", "/api/sessions/{session_id}/events/"),
}


def documented() -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, item in document()["paths"].items() for method in item}


def test_every_route_is_documented_and_no_other() -> None:
    served = {
        (method, "/api/sessions" + path.format(session="{session_id}", stream="{stream_id}"))
        for method, path in routes()
    }
    assert documented() == served | CONSUMER_ROUTES


def address(pattern: URLPattern) -> str:
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern))


def test_every_consumer_under_the_api_is_documented() -> None:
    consumers = {address(pattern) for pattern in stream_urlpatterns}
    assert {path for path in consumers if path.startswith("/api/")} <= {path for _, path in CONSUMER_ROUTES}


def test_every_refusal_and_the_gate_are_documented() -> None:
    for item in document()["paths"].values():
        for operation in item.values():
            assert {400, 401, 403, 404} <= operation["responses"].keys()
            assert operation["security"] == [{"CallerAuth": []}]


def test_the_prompts_schema_is_the_consumers() -> None:
    body = document()["paths"]["/api/sessions/{session_id}/streams/"]["post"]["requestBody"]
    assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/PromptIn"}
    assert "prompt" in document()["components"]["schemas"]["PromptIn"]["required"]


def test_a_prompt_that_was_rolled_back_has_no_messages_to_name() -> None:
    fields = document()["components"]["schemas"]["StreamAccepted"]["properties"]
    nullable = {name for name, field in fields.items() if {"type": "null"} in field.get("anyOf", ())}
    assert nullable == {"message_id", "prompt_id"}


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_every_reference_leads_somewhere() -> None:
    named = references(document())
    assert named
    assert {name.removeprefix("#/components/schemas/") for name in named} <= document()["components"]["schemas"].keys()


async def test_the_text_is_served_to_anyone(database: None) -> None:
    response = await ApiClient().get("/api/openapi.json")
    assert response.status_code == 200
    assert response.json()["openapi"].startswith("3.")
