"""Who is asking: a user by cookie or API key, or an anonymous browser. One gate for consumers, API and pages.

A Django session whose data hold `anonymous_id` is an anonymous browser's. The id, not the session's key, owns the
chats: Django changes the key on log-in.
"""

import re
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal, Never
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.base import SessionBase
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, QueryDict
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import timezone
from django.utils.module_loading import import_string

from chat import api_keys
from chat.exceptions import Forbidden, Unauthenticated
from chat.models import ChatSession
from chat.rows import exists

ANONYMOUS_ID = "anonymous_id"
MEANT_CALLER = "X-Jarvis-Caller"  # whom a page was made for; cookies may have become another's in another tab
_SEEN_ON = "seen_on"
_SCHEMES_OF_PROXIES = {"basic", "digest", "negotiate", "ntlm"}  # meant for a proxy before us; cookies decide then
_SESSION_KEY_SHAPE = re.compile(r"[a-z0-9]{8,40}")  # anything else, NUL above all, is kept from the database


@dataclass(frozen=True, slots=True)
class Caller:
    """Exactly one of `user_id` and `anonymous_id` is set. Being staff opens no chat of another's."""

    user_id: int | None
    anonymous_id: UUID | None
    by: Literal["session", "key"]
    api_key_id: int | None = None
    session_key: str | None = None

    @property
    def name(self) -> str:
        """What the page calls the caller in `X-Jarvis-Caller`; all anonymous browsers alike."""
        return "anonymous" if self.user_id is None else f"user:{self.user_id}"

    @property
    def label(self) -> str:
        """Stable for as long as the caller is the same person or browser."""
        if self.user_id is not None:
            return f"user:{self.user_id}"
        assert self.anonymous_id is not None
        return f"anonymous:{self.anonymous_id.hex}"

    def owns(self, session_id: UUID) -> bool:
        """Whether it is one of `sessions`."""
        owner, owner_id = ("user_id", self.user_id) if self.user_id is not None else ("anonymous_id", self.anonymous_id)
        return exists(ChatSession, f"id = %s AND deleted_at IS NULL AND {owner} = %s", session_id, owner_id)

    def sessions(self) -> QuerySet[ChatSession]:
        """The caller's own sessions, without the deleted ones."""
        present = ChatSession.objects.filter(deleted_at=None)
        if self.user_id is not None:
            return present.filter(user_id=self.user_id)
        return present.filter(anonymous_id=self.anonymous_id) if self.anonymous_id else present.none()


def identify(scope: Any) -> Caller:
    """Who sent this request. Uses the database: call it in a thread.

    A bearer key wins over cookies, and a wrong one is never forgiven for a good cookie. Raises Unauthenticated, and
    Forbidden if cookies vouch for an unsafe method without Django's CSRF token in `X-CSRFToken`. Cookies of somebody
    other than whom `X-Jarvis-Caller` names are none.
    """
    authorization = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
    if len(authorization) > 1:
        raise Unauthenticated("Send one Authorization header, not several.")
    if authorization:
        scheme, _, key = authorization[0].decode("latin-1").partition(" ")
        if scheme.lower() not in _SCHEMES_OF_PROXIES:
            return _by_key(key.strip() if scheme.lower() == "bearer" else "")
    request = _request(scope)
    caller = from_cookies(request)
    if request.headers.get(MEANT_CALLER, caller.name) != caller.name:
        raise Unauthenticated("Somebody else is logged in here now, or nobody. Reload the page.")
    _Csrf(_no_response).check(request)
    return caller


def from_cookies(request: HttpRequest) -> Caller:
    """The user or anonymous browser that the request's Django session stands for; raises Unauthenticated."""
    session = request.session
    if SESSION_KEY in session:
        user = get_user(request)
        if not user.is_authenticated:  # inactive, deleted, or the password has changed
            raise Unauthenticated
        return Caller(user.pk, None, "session", session_key=session.session_key)
    if settings.CHAT_ALLOW_ANONYMOUS and (anonymous_id := _anonymous_id(session)):
        return Caller(None, anonymous_id, "session", session_key=session.session_key)
    raise Unauthenticated


def welcome(request: HttpRequest) -> Caller:
    """As `from_cookies`, but a browser that comes for the first time becomes an anonymous caller, if allowed."""
    session = request.session
    try:
        caller = from_cookies(request)
    except Unauthenticated:
        if not settings.CHAT_ALLOW_ANONYMOUS:
            raise
        session.flush()
        session[ANONYMOUS_ID] = uuid4().hex
        caller = from_cookies(request)
    # Django lets a session expire two weeks after its last change: one change a day keeps a daily visitor's chats.
    if session.get(_SEEN_ON) != (today := timezone.now().date().isoformat()):
        session[_SEEN_ON] = today
    return caller


def still_allowed(caller: Caller) -> bool:
    """Whether the caller would be let in again: one query for a key or an anonymous browser, two for a user."""
    if caller.api_key_id is not None:
        return caller.user_id is not None and api_keys.usable(caller.api_key_id, caller.user_id)
    request = HttpRequest()
    request.session = _stored_session(caller.session_key)
    try:
        return from_cookies(request) == caller
    except Unauthenticated:
        return False


@receiver(user_logged_in)
def _take_over_anonymous_chats(sender: Any, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    session = getattr(request, "session", None)
    anonymous_id = None if session is None else _anonymous_id(session)
    if session is not None and anonymous_id is not None:
        ChatSession.objects.filter(anonymous_id=anonymous_id).update(user=user, anonymous_id=None)
        del session[ANONYMOUS_ID]


def _by_key(key: str) -> Caller:
    found = api_keys.find(key)
    if found is None:
        raise Unauthenticated("This API key is not valid. " + Unauthenticated().message)
    return Caller(found.user_id, None, "key", api_key_id=found.pk)


def _request(scope: Any) -> ASGIRequest:
    """Django's view of the scope, without what it would parse: body, query, content type."""
    headers = [(name.lower(), value) for name, value in scope["headers"] if name.lower() != b"content-type"]
    request = ASGIRequest({**scope, "headers": headers, "query_string": b""}, BytesIO())
    request.POST = QueryDict()  # the token travels in a header
    request.session = _stored_session(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    return request


def _stored_session(key: str | None) -> SessionBase:
    store: type[SessionBase] = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
    return store(key if key and _SESSION_KEY_SHAPE.fullmatch(key) else None)


def _anonymous_id(session: SessionBase) -> UUID | None:
    text = session.get(ANONYMOUS_ID)
    return None if text is None else UUID(text)


def _no_response(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


class _Csrf(CsrfViewMiddleware):
    """Django's check, with a refusal that is raised."""

    def check(self, request: HttpRequest) -> None:
        self.process_request(request)
        self.process_view(request, _no_response, (), {})

    def _reject(self, request: HttpRequest, reason: str) -> Never:
        raise Forbidden(
            f"{reason} Send the value of the cookie `{settings.CSRF_COOKIE_NAME}` in the header `X-CSRFToken` "
            "from the same origin, or use an API key."
        )
