"""Settings with which events would be late, lost or refused: an error at the start, with what to do instead."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from events.conf import conf
from events.log_writing import LOCK_WAIT_MILLISECONDS

_SLOWEST_FLUSH_SECONDS = 1.0  # beyond, text no longer streams but comes in lumps
_SLOWEST_HEARTBEAT_SECONDS = 20.0  # two are missed before the page gives up (`net/event_response.js`: 40 s)
_LEAST_CONNECTIONS = 12  # a thread each: the log's writer, its 4 readers, chat's 4, readiness, Django's, one to spare


def check_settings(**_: Any) -> Iterator[CheckMessage]:
    """The `EVENTS_*` settings, each and with one another."""
    interval = conf.flush_interval_seconds
    if not 0 < interval <= _SLOWEST_FLUSH_SECONDS:
        hint = f"It is the longest that a token waits: above 0, at most {_SLOWEST_FLUSH_SECONDS:g}; 0.075 is usual."
        yield Error(f"EVENTS_FLUSH_INTERVAL_SECONDS={interval:g} is out of range.", hint=hint, id="events.E001")
    if conf.flush_bytes >= conf.max_pending_bytes:
        hint = "What leaves at once (EVENTS_FLUSH_BYTES) must be less than what makes the model wait."
        yield Error("EVENTS_FLUSH_BYTES is not below EVENTS_MAX_PENDING_BYTES.", hint=hint, id="events.E002")
    if conf.heartbeat_seconds >= conf.max_connection_seconds:
        hint = "Access is checked again on each heartbeat; no connection would live to see one."
        yield Error("EVENTS_HEARTBEAT_SECONDS is not below EVENTS_MAX_CONNECTION_SECONDS.", hint=hint, id="events.E003")
    if conf.heartbeat_seconds > _SLOWEST_HEARTBEAT_SECONDS:
        hint = f"The page gives a silent connection up after 40 s: at most {_SLOWEST_HEARTBEAT_SECONDS:g}; 15 is usual."
        yield Error("EVENTS_HEARTBEAT_SECONDS is too long for the page.", hint=hint, id="events.E010")
    if conf.storage_timeout_seconds <= LOCK_WAIT_MILLISECONDS / 1000:
        hint = f"One wait for a lock takes {LOCK_WAIT_MILLISECONDS} ms; give it time for a few. 10 is usual."
        yield Error("EVENTS_STORAGE_TIMEOUT_SECONDS is too short to try again.", hint=hint, id="events.E004")


def check_layer(**_: Any) -> Iterator[CheckMessage]:
    """The channel layer is there, and is not the one that is for testing."""
    backend = settings.CHANNEL_LAYERS.get("default", {}).get("BACKEND")
    if backend is None:
        hint = "Use events.layers.InProcessChannelLayer for one process, events.redis_layer.RedisChannelLayer for many."
        yield Error("CHANNEL_LAYERS has no default layer.", hint=hint, id="events.E005")
    if backend == "channels.layers.InMemoryChannelLayer":
        hint = "events.layers.InProcessChannelLayer does the same at a cost that does not grow with the viewers."
        yield Warning("CHANNEL_LAYERS: this layer is for tests.", hint=hint, id="events.W001")


def check_database(**_: Any) -> Iterator[CheckMessage]:
    """The log's threads can write, and see the same database."""
    database = settings.DATABASES["default"]
    vendor, options = database["ENGINE"].rpartition(".")[2], database.get("OPTIONS", {})
    if vendor not in ("sqlite3", "postgresql"):
        hint = "The log's statements are written for SQLite and PostgreSQL."
        yield Error(f"DATABASES: the event log does not speak {vendor}.", hint=hint, id="events.E006")
    if vendor == "sqlite3":
        if options.get("transaction_mode") != "IMMEDIATE":
            hint = "Set OPTIONS['transaction_mode'] to 'IMMEDIATE': a read lock that has to be upgraded fails at once."
            yield Error("DATABASES: SQLite with deferred transactions.", hint=hint, id="events.E007")
        name = str(database.get("NAME", ""))
        if ":memory:" in name or "mode=memory" in name:
            hint = "Give it a file: the log's threads have connections of their own, each to an empty database."
            yield Error("DATABASES: SQLite in memory.", hint=hint, id="events.E008")
        if database.get("ATOMIC_REQUESTS"):
            hint = "With transaction_mode IMMEDIATE each request would hold the one write lock."
            yield Error("DATABASES sets ATOMIC_REQUESTS for SQLite.", hint=hint, id="events.E011")
        if "journal_mode=wal" not in options.get("init_command", "").lower().replace(" ", ""):
            hint = "Add `PRAGMA journal_mode=WAL;` to OPTIONS['init_command']."
            yield Error("SQLite without WAL: readers and the writer block each other.", hint=hint, id="events.E012")
    pool = options.get("pool")
    if isinstance(pool, dict) and int(pool.get("max_size") or pool.get("min_size") or 4) < _LEAST_CONNECTIONS:
        hint = f"About ten threads want one each: at least {_LEAST_CONNECTIONS}; 20 is usual."
        yield Error("DATABASE_CONNECTIONS: the pool has too few connections.", hint=hint, id="events.E009")
