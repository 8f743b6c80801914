"""Who is asking: every way to say it, every way to get it wrong."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest.mock import Mock
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client, override_settings
from django.utils import timezone

from chat import api_keys, rows
from chat.callers import Caller, identify, still_allowed
from chat.exceptions import Forbidden, Unauthenticated
from chat.models import ApiKey, ChatSession

pytestmark = pytest.mark.django_db

Headers = list[tuple[bytes, bytes]]


def scope(headers: Headers, method: str = "GET") -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": "/api/sessions/",
        "query_string": b"\xff",
        "scheme": "http",
        "headers": [(b"host", b"testserver"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


class Browser:
    """A browser with a cookie jar that opens the chat page through Django."""

    def __init__(self) -> None:
        self.client = Client()

    def opens_the_page(self) -> "Browser":
        assert self.client.get("/").status_code == 200
        return self

    def logs_in(self, user: User) -> "Browser":
        self.client.force_login(user)
        return self

    def headers(self, **extra: str) -> Headers:
        cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in self.client.cookies.items())
        named = {"cookie": cookies, **{name.replace("_", "-"): value for name, value in extra.items()}}
        return [(name.encode(), value.encode()) for name, value in named.items()]

    @property
    def token(self) -> str:
        return self.client.cookies["csrftoken"].value

    def caller(self) -> Caller:
        return identify(scope(self.headers()))


@pytest.fixture
def browser() -> Browser:
    return Browser()


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def key(ada: User) -> str:
    return api_keys.create_api_key(ada)


def bearer(key: str) -> Headers:
    return [(b"authorization", f"Bearer {key}".encode())]


# --- anonymous browsers and users ---


def test_nobody_is_unauthenticated() -> None:
    with pytest.raises(Unauthenticated):
        identify(scope([]))


def test_the_page_makes_a_browser_an_anonymous_caller(browser: Browser) -> None:
    caller = browser.opens_the_page().caller()
    assert (caller.user_id, caller.by) == (None, "session")
    assert isinstance(caller.anonymous_id, UUID)
    assert caller.label == f"anonymous:{caller.anonymous_id.hex}"
    assert browser.opens_the_page().caller() == caller


def test_two_browsers_are_two_callers() -> None:
    assert Browser().opens_the_page().caller().label != Browser().opens_the_page().caller().label


def test_a_cookie_alone_makes_no_caller(browser: Browser) -> None:
    browser.client.session.save()
    with pytest.raises(Unauthenticated):
        browser.caller()


@pytest.mark.parametrize("cookie", ["", "\0" * 32, "a" * 8192, "ABC", "a" * 7, "'; drop table", "é" * 16, "a" * 32])
def test_a_made_up_cookie_is_nobody(cookie: str, django_assert_num_queries: Any) -> None:
    looks_real = cookie == "a" * 32  # PostgreSQL fails on NUL: what cannot be a key is not looked for
    with django_assert_num_queries(int(looks_real)), pytest.raises(Unauthenticated):
        identify(scope([(b"cookie", b"sessionid=" + cookie.encode())]))


def test_a_user_is_known_by_cookie(browser: Browser, ada: User) -> None:
    caller = browser.logs_in(ada).caller()
    assert (caller.user_id, caller.anonymous_id, caller.label) == (ada.pk, None, f"user:{ada.pk}")


def test_cookies_of_somebody_else_than_the_page_was_made_for_are_none(browser: Browser, ada: User) -> None:
    def as_meant(name: str) -> Caller:
        return identify(scope(browser.headers(x_jarvis_caller=name)))

    browser.opens_the_page()
    assert as_meant("anonymous") == browser.caller()
    with pytest.raises(Unauthenticated, match="Reload the page"):
        as_meant(f"user:{ada.pk}")
    browser.logs_in(ada)
    assert as_meant(f"user:{ada.pk}") == browser.caller()
    for name in ("anonymous", f"user:{ada.pk + 1}", "", "ada"):
        with pytest.raises(Unauthenticated, match="Reload the page"):
            as_meant(name)


def test_anonymous_browsers_may_be_unwelcome(browser: Browser, ada: User) -> None:
    browser.opens_the_page()
    with override_settings(CHAT_ALLOW_ANONYMOUS=False):
        with pytest.raises(Unauthenticated):
            browser.caller()
        assert browser.logs_in(ada).caller().user_id == ada.pk


def test_an_inactive_user_is_nobody(browser: Browser, ada: User) -> None:
    browser.opens_the_page().logs_in(ada)
    User.objects.update(is_active=False)
    with pytest.raises(Unauthenticated):
        browser.caller()


def test_a_visit_a_day_keeps_the_session_alive(browser: Browser) -> None:
    label = browser.opens_the_page().caller().label
    session = browser.client.session
    session["seen_on"] = "2000-01-01"
    session.save()
    Session.objects.update(expire_date=timezone.now() + timedelta(days=1))
    browser.opens_the_page()
    assert Session.objects.get().expire_date > timezone.now() + timedelta(days=13)
    assert browser.caller().label == label


def test_a_second_visit_on_a_day_writes_nothing(browser: Browser, django_assert_num_queries: Any) -> None:
    browser.opens_the_page()
    with django_assert_num_queries(1):
        browser.opens_the_page()


# --- from anonymous to user ---


def test_logging_in_takes_the_browsers_chats_along(browser: Browser, ada: User) -> None:
    before = browser.opens_the_page().caller()
    mine = ChatSession.objects.create(anonymous_id=before.anonymous_id)
    others = ChatSession.objects.create(anonymous_id=uuid4())
    after = browser.logs_in(ada).caller()
    assert list(after.sessions()) == [mine]
    assert not before.sessions().exists()
    assert (after.owns(mine.id), before.owns(mine.id), after.owns(others.id)) == (True, False, False)
    assert "anonymous_id" not in browser.client.session


def test_after_logging_out_the_browser_is_somebody_new(browser: Browser, ada: User) -> None:
    before = browser.opens_the_page().caller()
    browser.logs_in(ada)
    browser.client.logout()
    with pytest.raises(Unauthenticated):
        browser.caller()
    assert browser.opens_the_page().caller().label not in (before.label, f"user:{ada.pk}")


# --- API keys ---


def test_a_key_stands_for_its_user(ada: User, key: str) -> None:
    caller = identify(scope(bearer(key), "POST"))
    assert (caller.user_id, caller.by) == (ada.pk, "key")
    assert caller.api_key_id == ApiKey.objects.get().pk


def test_a_key_wins_over_cookies_and_needs_no_token(browser: Browser, ada: User, key: str) -> None:
    caller = identify(scope(browser.opens_the_page().headers() + bearer(key), "POST"))
    assert caller.user_id == ada.pk


def wrong_authorizations(key: str) -> Iterator[Headers]:
    yield bearer(key) + bearer(key)
    yield bearer("jv-" + "a" * 43)
    yield bearer(key + "x")
    yield bearer(key[:-1])
    yield bearer(key + "\0")
    yield bearer("jv-" + "a" * 8192)
    yield bearer("")
    yield [(b"authorization", b"")]
    yield [(b"authorization", b"Bearer")]
    yield [(b"authorization", key.encode())]
    yield [(b"authorization", b"Token " + key.encode())]
    yield [(b"authorization", b"Bearer \xff\xfe\x00")]
    yield [(b"authorization", b"Basic YTpi"), *bearer(key)]


@pytest.mark.parametrize("number", range(13))
def test_a_wrong_key_is_refused_whatever_the_cookies_say(browser: Browser, key: str, number: int) -> None:
    cookies = browser.opens_the_page().headers()
    with pytest.raises(Unauthenticated):
        identify(scope(cookies + list(wrong_authorizations(key))[number]))


def test_basic_authentication_of_a_proxy_leaves_cookies_their_say(browser: Browser) -> None:
    cookies = browser.opens_the_page().headers(authorization="Basic YTpi")
    assert identify(scope(cookies)).anonymous_id


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
def test_the_scheme_is_written_as_one_likes(ada: User, key: str, scheme: str) -> None:
    assert identify(scope([(b"authorization", f"{scheme} {key}".encode())])).user_id == ada.pk


# --- CSRF ---


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "MADE-UP"])
def test_a_cookie_needs_the_token_to_change_anything(browser: Browser, method: str) -> None:
    headers = browser.opens_the_page().headers()
    with pytest.raises(Forbidden, match="X-CSRFToken"):
        identify(scope(headers, method))
    with pytest.raises(Forbidden):
        identify(scope(browser.headers(x_csrftoken="a" * 32), method))
    assert identify(scope(browser.headers(x_csrftoken=browser.token), method)) == browser.caller()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reading_needs_no_token(browser: Browser, method: str) -> None:
    assert identify(scope(browser.opens_the_page().headers(), method))


def test_another_origin_is_refused_even_with_the_token(browser: Browser) -> None:
    browser.opens_the_page()
    with pytest.raises(Forbidden, match="Origin"):
        identify(scope(browser.headers(x_csrftoken=browser.token, origin="http://evil.example"), "POST"))
    assert identify(scope(browser.headers(x_csrftoken=browser.token, origin="http://testserver"), "POST"))


def test_a_form_is_no_way_around_the_header(browser: Browser) -> None:
    headers = browser.opens_the_page().headers(content_type="multipart/form-data; boundary=x; charset=\0")
    with pytest.raises(Forbidden):
        identify(scope(headers, "POST"))


def test_without_a_caller_the_token_does_not_matter() -> None:
    with pytest.raises(Unauthenticated):
        identify(scope([], "POST"))


# --- ownership ---


def test_callers_see_their_own_chats_only(ada: User) -> None:
    browser_id, grace = uuid4(), User.objects.create_superuser("grace")
    user = Caller(ada.pk, None, "key", api_key_id=1)
    staff = Caller(grace.pk, None, "session", session_key="x")
    anonymous = Caller(None, browser_id, "session", session_key="x")
    of_user = ChatSession.objects.create(user=ada)
    of_browser = ChatSession.objects.create(anonymous_id=browser_id)
    nobodys = ChatSession.objects.create()
    nobody = Caller(None, None, "session", session_key="x")
    for caller, own in ((user, {of_user}), (anonymous, {of_browser}), (staff, set()), (nobody, set())):
        assert set(caller.sessions()) == own
        assert {each for each in (of_user, of_browser, nobodys) if caller.owns(each.id)} == own


def test_deleted_chats_are_nobodys(ada: User) -> None:
    caller = Caller(ada.pk, None, "key", api_key_id=1)
    gone = ChatSession.objects.create(user=ada, deleted_at=timezone.now())
    assert not caller.owns(gone.id)
    assert not caller.sessions().exists()


# --- while connected ---


def test_a_caller_stays_allowed(
    browser: Browser, ada: User, key: str, django_assert_max_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    exists = Mock(wraps=rows.exists)  # past Django, which counts only its own
    monkeypatch.setattr(api_keys, "exists", exists)
    callers = [Browser().opens_the_page().caller(), browser.logs_in(ada).caller(), identify(scope(bearer(key)))]
    for caller in callers:
        with django_assert_max_num_queries(2):
            assert still_allowed(caller)
    assert exists.call_count == 1


def test_a_revoked_key_ends_the_permission(key: str) -> None:
    caller = identify(scope(bearer(key)))
    api_keys.revoke(ApiKey.objects.get())
    assert not still_allowed(caller)


def test_logging_out_ends_the_permission(browser: Browser, ada: User) -> None:
    caller = browser.logs_in(ada).caller()
    browser.client.logout()
    assert not still_allowed(caller)


def test_logging_in_ends_the_anonymous_permission(browser: Browser, ada: User) -> None:
    caller = browser.opens_the_page().caller()
    browser.logs_in(ada)
    assert not still_allowed(caller)


def test_a_new_password_ends_the_permission(browser: Browser, ada: User) -> None:
    caller = browser.logs_in(ada).caller()
    ada.set_password("difference")
    ada.save()
    assert not still_allowed(caller)


@pytest.mark.parametrize("by", ["session", "key"])
@pytest.mark.parametrize("what", ["inactive", "deleted"])
def test_without_the_user_the_permission_ends(browser: Browser, ada: User, key: str, by: str, what: str) -> None:
    caller = browser.logs_in(ada).caller() if by == "session" else identify(scope(bearer(key)))
    if what == "inactive":
        User.objects.update(is_active=False)
    else:
        ada.delete()
    assert not still_allowed(caller)


def test_closing_the_house_to_anonymous_browsers_ends_theirs(browser: Browser) -> None:
    caller = browser.opens_the_page().caller()
    with override_settings(CHAT_ALLOW_ANONYMOUS=False):
        assert not still_allowed(caller)
