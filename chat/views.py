"""The pages, and what is said when there is none: in JSON to programs, as a page to people."""

import sys
from typing import Any, TypeVar
from uuid import UUID

from django.contrib.auth.views import LoginView, redirect_to_login
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, ensure_csrf_cookie
from django.views.decorators.http import require_safe

from chat.api import refuse
from chat.callers import welcome
from chat.exceptions import ChatError, Forbidden, InvalidRequest, NotFound, Overloaded, Unauthenticated

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_PROGRAMS = ("/api/", "/v1/")
R = TypeVar("R", bound=HttpResponseBase)


@require_safe
@never_cache
@ensure_csrf_cookie
def page(request: HttpRequest, session_id: UUID | None = None) -> HttpResponse:
    """The chat page. A browser without a name gets one here, unless only users are welcome."""
    try:
        caller = welcome(request)
    except Unauthenticated:
        return redirect_to_login(request.get_full_path(), reverse("login"))
    if session_id is not None and not caller.sessions().filter(pk=session_id).exists():
        raise Http404
    shown = {"session_id": None if session_id is None else str(session_id)}
    return _guarded(render(request, "chat/page.html", shown))


@method_decorator(never_cache, name="dispatch")
class Login(LoginView):
    """For everyone with a password; the admin's own log-in turns away who is not staff."""

    template_name = "chat/login.html"
    redirect_authenticated_user = True
    next_page = "chat"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return _guarded(super().dispatch(request, *args, **kwargs))


@csrf_exempt  # there is nothing to protect, and a missing token is not what is wrong
def nothing_here(request: HttpRequest) -> HttpResponse:
    """For every address under /api/ that is no route: no redirect to one with a slash, which would lose the body."""
    return refuse(NotFound())


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _say(request, InvalidRequest())


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _say(request, Forbidden())


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _say(request, Forbidden("The form has expired, or came from elsewhere. Open the page again and retry."))


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _say(request, NotFound())


def server_error(request: HttpRequest) -> HttpResponse:
    if isinstance(sys.exception(), (OperationalError, InterfaceError)):  # locked for too long, or gone: it passes
        return _say(request, Overloaded("The database is busy or away; try again in a moment."))
    return _say(request, ChatError("Something went wrong here. It has been written to the log."))


def _say(request: HttpRequest, error: ChatError) -> HttpResponse:
    if request.path.startswith(_PROGRAMS):
        return refuse(error)
    # Without the request: no context processor, no database, nothing that could fail a second time.
    html = render_to_string("chat/error.html", {"status": error.status, "message": error.message})
    return _guarded(HttpResponse(html, status=error.status, headers=error.headers()))


def _guarded(response: R) -> R:
    response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response
