"""The settings of `events`, typed, read at the moment of use (so that tests may override them)."""

from django.conf import settings


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
        return value


conf = EventsSettings()
