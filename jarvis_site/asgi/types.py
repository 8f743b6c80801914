"""ASGI's own words as types; `asgiref.typing` has a class for every message, which middleware has no use for."""

from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# A layer that only passes on returns what it calls: a coroutine of its own would hold half a kilobyte as long as a
# response is open (#4). The outermost one cannot: servers ask whether it is a coroutine function.
Application = Callable[..., Awaitable[None]]  # (Scope, Receive, Send), by whatever types a framework knows them
Headers = list[tuple[bytes, bytes]]
