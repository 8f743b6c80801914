"""Who may read `/metrics`, and that reading it blocks nobody."""

import re
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import RequestFactory
from django.test.utils import override_settings

from jarvis_site.metrics import metrics
from tests.api.client import ApiClient


async def asked(*, headers: dict[str, str] | None = None, **meta: Any) -> HttpResponse:
    return await metrics(RequestFactory().get("/metrics", headers=headers or {}, **meta))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1"])
async def test_this_machine_may_read(address: str) -> None:
    assert (await asked(REMOTE_ADDR=address)).status_code == 200


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "2001:db8::1", "", "localhost"])
async def test_others_may_not(address: str) -> None:
    assert (await asked(REMOTE_ADDR=address)).status_code == 403


async def test_what_a_proxy_passes_on_is_from_elsewhere() -> None:
    refused = await asked(headers={"X-Forwarded-For": "127.0.0.1"})
    assert (refused.status_code, b"METRICS_TOKEN" in refused.content) == (403, True)


@pytest.mark.parametrize(
    ("sent", "status"),
    [("Bearer secret", 200), ("Bearer secrets", 401), ("Bearer ", 401), ("secret", 401), ("Bearer sécret", 401)],
)
async def test_with_a_token_it_is_the_token_that_counts(sent: str, status: int) -> None:
    with override_settings(METRICS_TOKEN="secret"):
        assert (await asked(headers={"Authorization": sent}, REMOTE_ADDR="192.0.2.1")).status_code == status
        assert (await asked()).status_code == 401


async def test_with_a_port_of_their_own_they_are_told_nowhere_else() -> None:
    with override_settings(METRICS_PORT=9101):
        assert (await asked(SERVER_PORT="8000")).status_code == 404
        assert (await asked(SERVER_PORT="9101")).status_code == 200


async def test_a_scrape_touches_neither_a_file_nor_a_lock_on_the_loop() -> None:
    response = await ApiClient().get("/metrics")  # else blockbuster raises; without the database, so does pytest-django
    assert response.status_code == 200
    assert re.search(r"^jarvis_viewers 0\.0$", response.text, flags=re.MULTILINE)


def test_it_is_not_redirected_to_https() -> None:
    """It is asked past the proxy, which alone speaks https."""
    assert any(re.match(pattern, "metrics") for pattern in settings.SECURE_REDIRECT_EXEMPT)
