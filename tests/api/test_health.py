"""Alive, and ready: what is down, what is only missed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from django.test import RequestFactory
from django.test.utils import override_settings

from chat import health
from tests.api.client import ApiClient


class Provider:
    """Lists its models, refuses to, or never answers."""

    error: Exception | None = None
    hangs = False
    asked = 0

    async def models(self) -> list[str]:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return ["model"]


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    made = Provider()
    monkeypatch.setattr(health, "get_provider", lambda: made)
    monkeypatch.setattr(health, "_FRESH_SECONDS", 0.0)
    monkeypatch.setattr(health, "_CHECK_SECONDS", 0.2)
    return made


@pytest_asyncio.fixture
async def nobody(database: None) -> AsyncIterator[ApiClient]:
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}):
        yield ApiClient()


async def ready(nobody: ApiClient) -> tuple[int, Any]:
    response = await nobody.get("/readyz")
    return response.status_code, response.json()


async def test_alive_needs_nothing() -> None:
    response = await ApiClient().get("/healthz")  # without the database: pytest-django would raise
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_wrong_method_is_told_the_right_ones(method: str, path: str) -> None:
    response = await ApiClient().send(method, path)
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")


async def test_ready_when_all_is_well(nobody: ApiClient, provider: Provider) -> None:
    expected = {"status": "ok", "database": "ok", "layer": "ok", "provider": "ok"}
    assert await ready(nobody) == (200, expected)


@pytest.mark.parametrize("hangs", [True, False])
async def test_without_a_provider_the_rest_still_works(nobody: ApiClient, provider: Provider, hangs: bool) -> None:
    provider.hangs, provider.error = hangs, OSError("refused")
    expected = {"status": "degraded", "database": "ok", "layer": "ok", "provider": "down"}
    assert await ready(nobody) == (200, expected)


async def test_without_the_layer_viewers_are_only_late(
    nobody: ApiClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "get_channel_layer", lambda: None)
    expected = {"status": "degraded", "database": "ok", "layer": "down", "provider": "ok"}
    assert await ready(nobody) == (200, expected)


async def test_without_the_database_nothing_works(
    nobody: ApiClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> None:
        raise OSError("gone")

    monkeypatch.setattr(health, "_query", gone)
    expected = {"status": "down", "database": "down", "layer": "ok", "provider": "ok"}
    assert await ready(nobody) == (503, expected)


async def test_asking_often_costs_the_provider_one_request(
    nobody: ApiClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_FRESH_SECONDS", 60.0)
    readiness = health.Readiness()
    for _ in range(5):
        assert (await readiness.readyz(RequestFactory().get("/readyz"))).status_code == 200
    assert provider.asked == 1
