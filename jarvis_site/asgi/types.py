"""ASGI's own words as types; `asgiref.typing` has a class for every message, which middleware has no use for."""

from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[..., Awaitable[None]]  # (Scope, Receive, Send), by whatever types a framework knows them
Headers = list[tuple[bytes, bytes]]
