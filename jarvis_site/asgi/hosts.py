"""Which hosts this site answers for, on every route: Django checks only its own."""

from collections.abc import Awaitable
from functools import lru_cache

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from jarvis_site.asgi.errors import send_error
from jarvis_site.asgi.types import Application, Receive, Scope, Send


class AllowedHosts:
    """400 unless the request names exactly one host, and `ALLOWED_HOSTS` has it.

    Also sets `root_path` to what the settings say: Daphne believes any client's `Daphne-Root-Path`, which would change
    routing and every link that is built.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not _is_allowed(hosts[0].decode("latin-1"), tuple(settings.ALLOWED_HOSTS)):
            return send_error(scope, send, 400, "invalid_request", "This host is not served here (ALLOWED_HOSTS).")
        headers = [header for header in scope["headers"] if header[0] != b"daphne-root-path"]
        root_path = settings.FORCE_SCRIPT_NAME or ""
        return self.application({**scope, "headers": headers, "root_path": root_path}, receive, send)


@lru_cache(maxsize=64)  # nearly all requests name one of a few
def _is_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)
