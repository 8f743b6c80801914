"""`runserver` with the same server as `serve`, and Django's reloader."""

# mypy: disallow-subclassing-any=False
from typing import Any

from daphne.management.commands.runserver import Command as DaphneRunserver
from daphne.management.commands.runserver import get_default_application

from jarvis_site.server import Server


class Command(DaphneRunserver):
    server_cls = Server

    def get_application(self, options: dict[str, Any]) -> Any:
        return get_default_application()  # static files are the application's own affair
