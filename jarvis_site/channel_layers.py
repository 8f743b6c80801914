"""Which channel layer carries the news, and how it is told to treat a Redis that is slow or away."""

from typing import Any

from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

KINDS = ("pubsub", "core")
_MEMBERSHIP_SECONDS = 3600  # of a process that died; a living one joins again every minute


def in_process(capacity: int) -> dict[str, dict[str, Any]]:
    return {"default": {"BACKEND": "events.layers.InProcessChannelLayer", "CONFIG": {"capacity": capacity}}}


def on_redis(kind: str, address: str, capacity: int, connection_seconds: float) -> dict[str, dict[str, Any]]:
    """`connection_seconds`: the longest that a viewer stays on one connection."""
    host = {
        "address": address,
        "socket_timeout": 3,  # a hung Redis must not hang a publisher
        "socket_connect_timeout": 2,
        "health_check_interval": 15,
        "driver_info": None,  # else each connection reads redis-py's version from disk, on the loop
        "retry": Retry(ExponentialWithJitterBackoff(base=0.1, cap=1), 5),
    }
    config: dict[str, Any] = {"prefix": "jarvis", "capacity": capacity, "hosts": [host]}
    if kind == "pubsub":
        return {"default": {"BACKEND": "events.redis_layer.RedisChannelLayer", "CONFIG": config}}
    host["socket_timeout"] = 15  # it waits for news in commands of 5 s
    config["group_expiry"] = max(_MEMBERSHIP_SECONDS, int(connection_seconds) + 1)
    return {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": config}}
