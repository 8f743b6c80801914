"""The settings of `events`, typed. Each is read once: Django's own way to it costs 2 µs, and this is asked for events.

Who overrides settings, as tests do, has them read again.
"""

from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver


class EventsSettings:
    """`EVENTS_*`: units are in the names; the defaults and the reasons are in `.env.example`."""

    flush_interval_seconds: float
    flush_longest_seconds: float
    flush_bytes: int
    max_pending_bytes: int
    max_connection_bytes: int
    max_connection_seconds: float
    heartbeat_seconds: float
    storage_timeout_seconds: float
    retention_seconds: float
    log_max_events: int
    channel_capacity: int
    max_viewers: int
    max_announced_bytes: int
    max_queued_bytes: int

    def __getattr__(self, name: str) -> float | int:
        value: float | int = getattr(settings, f"EVENTS_{name.upper()}")
        self.__dict__[name] = value
        return value


conf = EventsSettings()


@receiver(setting_changed)
def _read_again(**kwargs: Any) -> None:
    conf.__dict__.clear()
