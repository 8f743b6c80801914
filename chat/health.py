"""`/healthz`: the process answers. `/readyz`: it can do its work, and what is missing if not."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Literal

from channels.layers import get_channel_layer
from django.db import close_old_connections, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from chat.providers import get_provider

State = Literal["ok", "degraded", "down"]
_CHECK_SECONDS = 2.0
_FRESH_SECONDS = 1.0  # whoever asks more often gets the same answer: asking costs the provider a request

# One thread of its own: while a dead database holds it, further checks fail without taking a thread from the API.
_database_thread = ThreadPoolExecutor(1, thread_name_prefix="readyz-database")


@csrf_exempt  # a missing token is not what is wrong
@require_safe
async def healthz(request: HttpRequest) -> JsonResponse:
    """Uses nothing but the event loop."""
    return JsonResponse({"status": "ok"})


class Readiness:
    """Checks all parts at the same time, two seconds at most.

    Only the database is needed for work to be done at all. Without the layer viewers are served from the log, two
    seconds late; without a provider everything but new answers works: both are `degraded`, and 200.
    """

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._checked_at = float("-inf")

    async def readyz(self, request: HttpRequest) -> JsonResponse:
        if monotonic() - self._checked_at > _FRESH_SECONDS:
            self._states = await self._check()
            self._checked_at = monotonic()
        states = self._states
        status: State = "down" if states["database"] == "down" else "degraded"
        if all(state == "ok" for state in states.values()):
            status = "ok"
        return JsonResponse({"status": status, **states}, status=503 if status == "down" else 200)

    async def _check(self) -> dict[str, State]:
        checks: dict[str, Callable[[], Awaitable[object]]] = {
            "database": _ask_database,
            "layer": _ask_layer,
            "provider": _ask_provider,
        }
        states = await asyncio.gather(*(_state(check) for check in checks.values()))
        return dict(zip(checks, states, strict=True))


async def _state(check: Callable[[], Awaitable[object]]) -> State:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except Exception:  # whatever it is, this part does not work
        return "down"
    return "ok"


async def _ask_database() -> None:
    await asyncio.get_running_loop().run_in_executor(_database_thread, _query)


def _query() -> None:
    close_old_connections()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        close_old_connections()


async def _ask_layer() -> None:
    layer = get_channel_layer()
    if layer is None:
        raise LookupError("no channel layer is configured")
    await layer.group_send("readyz", {"type": "session.event"})  # nobody is in this group


async def _ask_provider() -> None:
    await get_provider().models()
