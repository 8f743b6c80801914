"""Settings that would start and then fail: refused at the start, with what to do instead."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOG_FORMATS = ("logfmt", "json")
_CORE_LAYER = "channels_redis.core.RedisChannelLayer"
_CORE_LAYER_BLOCKS_SECONDS = (
    5  # its receive asks Redis to wait so long; a shorter socket timeout ends each quiet stream
)


def check_logging(**_: Any) -> Iterator[CheckMessage]:
    if settings.LOG_LEVEL not in LOG_LEVELS:
        yield Error(f"LOG_LEVEL={settings.LOG_LEVEL} is no level: use {_either(LOG_LEVELS)}.", id="jarvis.E001")
    if settings.LOG_FORMAT not in LOG_FORMATS:
        yield Error(f"LOG_FORMAT={settings.LOG_FORMAT} is no format: use {_either(LOG_FORMATS)}.", id="jarvis.E002")


def check_address(**_: Any) -> Iterator[CheckMessage]:
    if not 0 <= settings.PORT <= 65535:
        yield Error(f"PORT={settings.PORT} is no port: use 1 to 65535, or 0 for any free one.", id="jarvis.E003")
    if not 0 <= settings.METRICS_PORT <= 65535:
        hint = "Use 1 to 65535, or 0 for none of its own."
        yield Error(f"METRICS_PORT={settings.METRICS_PORT} is no port.", hint=hint, id="jarvis.E009")


def check_channel_layer(**_: Any) -> Iterator[CheckMessage]:
    layer = settings.CHANNEL_LAYERS.get("default", {})
    config = layer.get("CONFIG", {})
    if "channel_capacity" in config:
        hint = "Use `capacity`: one channel carries all sessions of a process, and its name has no pattern."
        yield Error("CHANNEL_LAYERS sets `channel_capacity`.", hint=hint, id="jarvis.E004")
    if layer.get("BACKEND") != _CORE_LAYER:
        return
    for host in config.get("hosts", ["localhost"]):
        timeout = host.get("socket_timeout") if isinstance(host, dict) else None
        if timeout is None or timeout <= _CORE_LAYER_BLOCKS_SECONDS:
            hint = "Give each host as a dict with `socket_timeout` 15, or use channels_redis.pubsub."
            yield Error(
                "CHANNEL_LAYERS: this layer loses every stream that is quiet for 5 s.", hint=hint, id="jarvis.E005"
            )
    if config.get("group_expiry", 86400) < settings.EVENTS_MAX_CONNECTION_SECONDS:
        hint = "Raise `group_expiry` above EVENTS_MAX_CONNECTION_SECONDS."
        yield Error("CHANNEL_LAYERS: members leave their groups while they are connected.", hint=hint, id="jarvis.E006")


def _either(values: tuple[str, ...]) -> str:
    return f"{', '.join(values[:-1])} or {values[-1]}"
