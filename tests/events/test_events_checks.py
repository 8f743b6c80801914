"""Each wrong value is refused at the start, by its own id; the settings as they come are fine."""

from typing import Any

import pytest
from django.conf import settings as configured
from django.core.checks import run_checks
from pytest_django import Settings

WAL = {"init_command": "PRAGMA journal_mode = wal;"}
SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": "/x/db",
    "OPTIONS": {"transaction_mode": "IMMEDIATE", **WAL},
}
POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "NAME": "x"}


def found() -> list[str]:
    return [message.id for message in run_checks() if message.id and message.id.startswith("events.")]


def test_the_settings_as_they_come_are_fine() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("EVENTS_FLUSH_INTERVAL_SECONDS", 0, "events.E001"),
        ("EVENTS_FLUSH_INTERVAL_SECONDS", 75, "events.E001"),
        ("EVENTS_FLUSH_BYTES", 64 << 10, "events.E002"),
        ("EVENTS_MAX_PENDING_BYTES", 1024, "events.E002"),
        ("EVENTS_HEARTBEAT_SECONDS", 21, "events.E010"),
        ("EVENTS_MAX_CONNECTION_SECONDS", 15, "events.E003"),
        ("EVENTS_STORAGE_TIMEOUT_SECONDS", 0.5, "events.E004"),
        ("CHANNEL_LAYERS", {}, "events.E005"),
        ("CHANNEL_LAYERS", {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}, "events.W001"),
    ],
)
def test_a_wrong_value_is_found(settings: Settings, name: str, value: Any, expected: str) -> None:
    setattr(settings, name, value)
    assert found() == [expected]


@pytest.mark.parametrize(
    ("database", "expected"),
    [
        (SQLITE, []),
        ({**SQLITE, "OPTIONS": WAL}, ["events.E007"]),
        ({**SQLITE, "OPTIONS": {"transaction_mode": "EXCLUSIVE", **WAL}}, ["events.E007"]),
        ({**SQLITE, "NAME": ":memory:"}, ["events.E008"]),
        ({**SQLITE, "NAME": "file:x?mode=memory&cache=shared"}, ["events.E008"]),
        ({**SQLITE, "ATOMIC_REQUESTS": True}, ["events.E011"]),
        ({**SQLITE, "OPTIONS": {"transaction_mode": "IMMEDIATE"}}, ["events.E012"]),
        (POSTGRESQL, []),
        ({**POSTGRESQL, "OPTIONS": {"pool": {"min_size": 1, "max_size": 12}}}, []),
        ({**POSTGRESQL, "OPTIONS": {"pool": {"min_size": 1, "max_size": 11}}}, ["events.E009"]),
        ({**POSTGRESQL, "OPTIONS": {"pool": {}}}, ["events.E009"]),
        ({"ENGINE": "django.db.backends.mysql", "NAME": "x"}, ["events.E006"]),
    ],
)
def test_a_database_that_the_log_cannot_use_is_found(
    monkeypatch: pytest.MonkeyPatch, database: dict[str, Any], expected: list[str]
) -> None:
    monkeypatch.setitem(configured.DATABASES, "default", database)
    assert found() == expected
