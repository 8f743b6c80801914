"""The ASGI application: consumers and Django behind one gate."""

import os
from typing import Any

from channels.routing import URLRouter
from django.core.asgi import get_asgi_application
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jarvis_site.settings")
django_application: Any = get_asgi_application()  # before anything that needs models

from chat.urls import stream_urlpatterns  # noqa: E402
from jarvis_site.asgi.headers import CompleteHeaders  # noqa: E402
from jarvis_site.asgi.hosts import AllowedHosts  # noqa: E402
from jarvis_site.asgi.lifespan import Lifespan  # noqa: E402
from jarvis_site.asgi.limits import BodyLimit  # noqa: E402
from jarvis_site.asgi.response_guard import ResponseGuard  # noqa: E402
from jarvis_site.asgi.types import Application  # noqa: E402


def behind_the_gate(application: Application) -> Application:
    """Every request passes here, whatever server runs it; what refuses needs no application."""
    return ResponseGuard(Lifespan(CompleteHeaders(AllowedHosts(BodyLimit(application)))))


# A router raises for a path that it does not know: Django, which says 404, is its last route.
_routes: list[Any] = [*stream_urlpatterns, re_path(r"", django_application)]
application = behind_the_gate(URLRouter(_routes))
