"""Each wrong value has its own message; the settings as they are have none."""

from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks

CORE = "channels_redis.core.RedisChannelLayer"


def ids() -> list[str | None]:
    return [message.id for message in run_checks() if (message.id or "").startswith("jarvis.")]


def test_the_settings_as_they_are_pass() -> None:
    assert ids() == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("LOG_LEVEL", "LOUD", "jarvis.E001"),
        ("LOG_FORMAT", "xml", "jarvis.E002"),
        ("PORT", 65536, "jarvis.E003"),
        ("PORT", -1, "jarvis.E003"),
        ("METRICS_PORT", 65536, "jarvis.E009"),
        ("METRICS_PORT", -1, "jarvis.E009"),
    ],
)
def test_a_wrong_value_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: object, expected: str) -> None:
    monkeypatch.setattr(settings, name, value)
    assert ids() == [expected]


@pytest.mark.parametrize(
    ("backend", "config", "expected"),
    [
        ("events.layers.InProcessChannelLayer", {"channel_capacity": {"x*": 5}}, "jarvis.E004"),
        (CORE, {}, "jarvis.E005"),
        (CORE, {"hosts": ["redis://localhost"]}, "jarvis.E005"),
        (CORE, {"hosts": [{"address": "redis://localhost", "socket_timeout": 5}]}, "jarvis.E005"),
        (CORE, {"hosts": [{"socket_timeout": 15}], "group_expiry": 60}, "jarvis.E006"),
    ],
)
def test_a_layer_that_loses_streams_is_refused(
    monkeypatch: pytest.MonkeyPatch, backend: str, config: dict[str, Any], expected: str
) -> None:
    monkeypatch.setattr(settings, "CHANNEL_LAYERS", {"default": {"BACKEND": backend, "CONFIG": config}})
    assert ids() == [expected]


def test_a_core_layer_that_waits_long_enough_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        settings, "CHANNEL_LAYERS", {"default": {"BACKEND": CORE, "CONFIG": {"hosts": [{"socket_timeout": 15}]}}}
    )
    assert ids() == []
