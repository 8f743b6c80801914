"""`/metrics`: what this process measures, for Prometheus. Every process has its own numbers: `docs/metrics.md`."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import ProcessCollector, exposition
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from chat import metrics as chat_metrics
from chat import registry
from events import bus
from events import metrics as events_metrics
from events.measuring import Metric
from jarvis_site import loop_watch

_process = ProcessCollector(registry=None)  # memory, processor time, descriptors, from /proc
_thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")


class _Gathered(Collector):
    """The families that were gathered on the loop, and those of the process, which are read from files."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        yield from self._families
        yield from _process.collect()


@csrf_exempt  # a missing token is not what is wrong
@require_safe
async def metrics(request: HttpRequest) -> HttpResponse:
    """Gathered on the loop, in 0.6 ms, so that the numbers belong together; written out on a thread."""
    if refused := _refused(request):
        return refused
    viewers = bus.current().hub.viewers if bus.exists() else 0
    gathered = _Gathered(
        [*events_metrics.families(viewers), *chat_metrics.families(registry.running()), *loop_watch.families()]
    )
    is_open = "application/openmetrics-text" in request.headers.get("Accept", "")
    write = openmetrics.generate_latest if is_open else exposition.generate_latest
    text = await asyncio.get_running_loop().run_in_executor(_thread, write, gathered)
    content_type = openmetrics.CONTENT_TYPE_LATEST if is_open else exposition.CONTENT_TYPE_PLAIN_0_0_4
    return HttpResponse(text, content_type=content_type, headers={"Cache-Control": "no-store"})


def _refused(request: HttpRequest) -> HttpResponse | None:
    """With METRICS_TOKEN whoever has it may read; without, who asks this machine from this machine, past any proxy."""
    if settings.METRICS_PORT and request.META.get("SERVER_PORT") != str(settings.METRICS_PORT):
        return _say(404, "Metrics are told at METRICS_PORT: each process has its own numbers.")
    if settings.METRICS_TOKEN:
        if constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}"):
            return None
        refused = _say(401, "Send METRICS_TOKEN: Authorization: Bearer …")
        refused["WWW-Authenticate"] = "Bearer"
        return refused
    if "X-Forwarded-For" in request.headers or not _is_loopback(request.META.get("REMOTE_ADDR", "")):
        return _say(403, "Metrics are told to this machine only; METRICS_TOKEN lets others read them.")
    return None


def _say(status: int, text: str) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
