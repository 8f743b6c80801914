"""The pages, and what is said when there is none."""

from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.contrib import auth
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.test import AsyncClient, Client, RequestFactory

from chat import views
from chat.models import ChatSession

pytestmark = pytest.mark.django_db

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


def test_the_page_comes_with_cookies_and_a_strict_policy(client: Client) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert response["Content-Security-Policy"] == POLICY
    assert "no-store" in response["Cache-Control"]
    assert {"sessionid", "csrftoken"} <= client.cookies.keys()
    assert client.cookies["sessionid"]["httponly"]
    assert {client.cookies[name]["samesite"] for name in ("sessionid", "csrftoken")} == {"Lax"}


def test_the_page_has_no_script_or_style_of_its_own(client: Client) -> None:
    for html in (client.get("/").content.decode(), client.get("/login/").content.decode()):
        assert "<style" not in html
        assert " style=" not in html
        assert "<script>" not in html
        assert " onclick=" not in html


def test_a_session_has_a_page_for_its_owner_only(client: Client) -> None:
    client.get("/")
    mine = ChatSession.objects.create(anonymous_id=client.session["anonymous_id"])
    response = client.get(f"/s/{mine.pk}/")
    assert response.status_code == 200
    assert response.context["session_id"] == str(mine.pk)
    foreign, missing = Client().get(f"/s/{mine.pk}/"), client.get(f"/s/{uuid4()}/")
    assert foreign.status_code == missing.status_code == 404
    assert foreign.content == missing.content
    assert foreign["Content-Security-Policy"] == POLICY
    assert foreign["Content-Type"].startswith("text/html")


def test_only_reading_is_allowed(client: Client) -> None:
    assert client.post("/").status_code == 405
    assert client.head("/").status_code == 200


def test_without_anonymous_browsers_the_page_leads_to_the_log_in(client: Client, settings: LazySettings) -> None:
    settings.CHAT_ALLOW_ANONYMOUS = False
    session_id = uuid4()
    assert client.get(f"/s/{session_id}/")["Location"] == f"/login/?next=/s/{session_id}/"
    assert not Session.objects.exists()


def test_everyone_with_a_password_can_log_in(client: Client, settings: LazySettings) -> None:
    settings.CHAT_ALLOW_ANONYMOUS = False
    User.objects.create_user("ada", password="engine")
    form = client.get("/login/")
    assert (form.status_code, form["Content-Security-Policy"]) == (200, POLICY)
    wrong = client.post("/login/", {"username": "ada", "password": "difference"})
    assert 'role="alert"' in wrong.content.decode()
    right = client.post("/login/", {"username": "ada", "password": "engine", "next": "https://evil.example/"})
    assert right["Location"] == "/"
    assert client.get("/").status_code == 200
    assert client.get("/login/")["Location"] == "/"


@pytest.mark.parametrize(("anonymous_too", "leads_to"), [(True, ["/"]), (False, ["/", "/login/?next=/"])])
def test_logging_out_leads_to_where_an_anonymous_browser_begins(
    settings: LazySettings, anonymous_too: bool, leads_to: list[str]
) -> None:
    settings.CHAT_ALLOW_ANONYMOUS = anonymous_too
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_user("<ada>"))
    assert 'data-user="&lt;ada&gt;"' in browser.get("/").content.decode()
    assert browser.get("/logout/").status_code == 405
    assert browser.post("/logout/").status_code == 403
    out = browser.post("/logout/", {"csrfmiddlewaretoken": browser.cookies["csrftoken"].value}, follow=True)
    assert [address for address, _ in out.redirect_chain] == leads_to
    shown = out.content.decode()
    assert "&lt;ada" not in shown
    assert ('data-user=""' in shown) == anonymous_too


def test_logging_in_gives_a_new_key_and_keeps_the_chats(client: Client) -> None:
    User.objects.create_user("ada", password="engine")
    client.get("/")
    before = client.cookies["sessionid"].value
    mine = ChatSession.objects.create(anonymous_id=client.session["anonymous_id"])
    client.post("/login/", {"username": "ada", "password": "engine"})
    assert client.cookies["sessionid"].value != before
    assert client.get(f"/s/{mine.pk}/").status_code == 200


@pytest.mark.parametrize("path", ["/nothing", "/nothing/", "/s/x/", "/admin-not/"])
def test_people_get_a_page_for_an_error(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert "Go to your chats" in response.content.decode()
    assert response["Content-Security-Policy"] == POLICY


@pytest.mark.parametrize("path", ["/api/x", "/v1/x"])
@pytest.mark.parametrize(
    ("view", "status", "code"),
    [
        (views.bad_request, 400, "invalid_request"),
        (views.forbidden, 403, "forbidden"),
        (views.csrf_failure, 403, "forbidden"),
        (views.not_found, 404, "not_found"),
        (views.server_error, 500, "internal_error"),
    ],
)
def test_programs_get_json_for_an_error(rf: RequestFactory, path: str, view: Any, status: int, code: str) -> None:
    response = view(rf.get(path))
    assert (response.status_code, response["Content-Type"]) == (status, "application/json")
    assert f'"code": "{code}"' in response.content.decode()
    page = view(rf.get("/"))
    assert (page.status_code, page["Content-Type"]) == (status, "text/html; charset=utf-8")


def locked(*_: Any, **__: Any) -> None:
    raise OperationalError("database is locked")


def test_a_page_says_when_to_come_back_while_the_database_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new visitor's cookie cannot be stored, which the session's middleware finds out; nor can a log-in."""
    monkeypatch.setattr(SessionStore, "save", locked)
    monkeypatch.setattr(auth.views, "auth_login", locked)
    monkeypatch.setattr(ModelBackend, "authenticate", lambda *_, **__: User(username="ada"))
    served = AsyncClient(raise_request_exception=False)  # as by the server
    visit = async_to_sync(served.get)("/")
    log_in = async_to_sync(served.post)("/login/", {"username": "ada", "password": "engine"})
    for response in (visit, log_in, Client(raise_request_exception=False).get("/")):
        assert (response.status_code, response["Retry-After"]) == (503, "2")
        assert "database is busy" in response.content.decode()


def test_an_error_page_needs_no_database(rf: RequestFactory, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert views.server_error(rf.get("/")).status_code == 500


def test_a_form_from_elsewhere_is_refused_with_a_page(settings: LazySettings) -> None:
    settings.CSRF_FAILURE_VIEW = "chat.views.csrf_failure"
    response = Client(enforce_csrf_checks=True).post("/login/", {"username": "ada", "password": "engine"})
    assert response.status_code == 403
    assert "Open the page again" in response.content.decode()
