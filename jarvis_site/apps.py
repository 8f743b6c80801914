from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.signals import request_finished
from django.db import connections

from jarvis_site import reactor as reactor  # before Daphne's app imports Daphne's server


class JarvisSiteConfig(AppConfig):
    name = "jarvis_site"
    verbose_name = "Jarvis"

    def ready(self) -> None:
        from jarvis_site.checks import check_address, check_channel_layer, check_logging

        for check in (check_logging, check_address, check_channel_layer):
            checks.register(check)
        request_finished.connect(_close_connections)


def _close_connections(**_: Any) -> None:
    """Django gives each request a thread of its own, which ends with it; the thread's connection to SQLite, which does
    not age, would stay open until the garbage is collected (60 pages left 14).
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:  # a test's own
            connection.close()
