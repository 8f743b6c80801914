"""The list of sessions: newest activity first, paged without repetition or loss, searched."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from chat import threads
from chat.callers import Caller
from chat.models import ChatSession, Message, Stream
from chat.session_list import PAGE_SIZE, list_sessions
from chat.stream_state import StreamState
from chat.threads import in_thread
from tests.api.client import ApiClient, error_of
from tests.chat.conversation import until

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def sessions_of(caller: ApiClient, *minutes: int) -> list[str]:
    """One session for each number, last used that many minutes after noon."""
    ids = [(await caller.new_session(f"session {number}"))["id"] for number in range(len(minutes))]
    for session_id, minute in zip(ids, minutes, strict=True):
        active_at = NOON + timedelta(minutes=minute)
        await in_thread(ChatSession.objects.filter(pk=session_id).update, active_at=active_at)
    return ids


async def page(caller: ApiClient, query: str = "") -> dict[str, Any]:
    response = await caller.get(f"/api/sessions/?{query}")
    assert response.status_code == 200, response.content
    found: dict[str, Any] = response.json()
    return found


async def ids(caller: ApiClient, query: str = "") -> list[str]:
    return [session["id"] for session in (await page(caller, query))["sessions"]]


async def test_the_newest_activity_comes_first(ada: ApiClient) -> None:
    oldest, newest, middle = await sessions_of(ada, 0, 2, 1)
    assert await ids(ada) == [newest, middle, oldest]


async def test_only_the_callers_own(ada: ApiClient, grace: ApiClient) -> None:
    mine = await sessions_of(ada, 0)
    await sessions_of(grace, 1)
    browser = await ApiClient.browser()
    assert (await ids(ada), await ids(browser)) == (mine, [])


async def test_pages_neither_repeat_nor_lose_with_ties(ada: ApiClient) -> None:
    def make() -> None:
        user_id = ChatSession.objects.get().user_id
        made = ChatSession.objects.bulk_create(ChatSession(user_id=user_id) for _ in range(2 * PAGE_SIZE + 3))
        ChatSession.objects.filter(pk__in=[session.pk for session in made]).update(active_at=NOON)

    await ada.new_session()
    await in_thread(make)
    seen: list[str] = []
    first = found = await page(ada)
    while found["next"]:
        seen += [session["id"] for session in found["sessions"]]
        await ada.new_session()  # what is used meanwhile does not shift the pages that follow
        found = await page(ada, f"before={found['next']}")
    seen += [session["id"] for session in found["sessions"]]
    assert len(first["sessions"]) == PAGE_SIZE
    assert len(seen) == len(set(seen)) == 2 * PAGE_SIZE + 4


@pytest.mark.parametrize("before", ["x", "0", "=", "AAAA", "é", "A" * 32, "_" * 32, "A" * 200, "A" * 201])
async def test_a_made_up_cursor_is_refused_or_finds_nothing(ada: ApiClient, before: str) -> None:
    response = await ada.get(f"/api/sessions/?before={before}")
    if response.status_code != 200:
        assert error_of(response) == (400, "invalid_request", "before")


async def test_search_looks_into_titles_and_messages(ada: ApiClient, grace: ApiClient) -> None:
    titled, said, other = await sessions_of(ada, 0, 1, 2)
    await ada.patch(f"/api/sessions/{titled}/", {"title": "About 50% of Zebras"})
    await in_thread(Message.objects.create, session_id=said, position=2, role="user", text="Do zebras sleep?")
    await in_thread(Message.objects.create, session_id=other, position=2, role="user", text="Do lions?")
    found_by_grace = await sessions_of(grace, 3)
    await in_thread(Message.objects.create, session_id=found_by_grace[0], position=2, role="user", text="zebra")
    assert set(await ids(ada, "search=ZEBRA")) == {titled, said}
    assert await ids(ada, "search=50%25") == [titled]
    assert await ids(ada, "search=%25%25") == []
    assert await ids(ada, "search=nothing") == []


@pytest.mark.parametrize("search", ["%00", "a" * 201])
async def test_search_refuses_what_cannot_be_searched_for(ada: ApiClient, search: str) -> None:
    response = await ada.get(f"/api/sessions/?search={search}")
    assert error_of(response) == (400, "invalid_request", "search")
    assert "items" not in response.json()["error"]["message"], "a text has characters"


async def test_a_running_stream_shows(ada: ApiClient) -> None:
    idle, busy = await sessions_of(ada, 0, 1)
    await in_thread(Stream.objects.create, session_id=busy, turn=1, state=StreamState.STREAMING)
    await in_thread(Stream.objects.create, session_id=idle, turn=1, state=StreamState.FAILED, reason="worker_lost")
    assert {each["id"]: each["active"] for each in (await page(ada))["sessions"]} == {busy: True, idle: False}


async def test_the_list_takes_one_query_however_long(ada: ApiClient) -> None:
    await sessions_of(ada, *range(20))

    def count() -> int:
        from chat.callers import Caller
        from chat.session_list import list_sessions

        caller = Caller(ChatSession.objects.values_list("user_id", flat=True)[0], None, "key", api_key_id=1)
        with CaptureQueriesContext(connection) as queries:
            list_sessions(caller)
        return len(queries)

    assert await in_thread(count) == 1


async def test_slow_searches_hold_nobody_else_up_and_do_not_pile_up(
    ada: ApiClient, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHAT_MAX_SEARCHES = 6  # more than there are threads for everything else
    found = threading.Event()

    def slow(caller: Caller, search: str, before: str) -> dict[str, Any]:
        if search:
            found.wait(30)
        return list_sessions(caller, search, before)

    monkeypatch.setattr("chat.api.list_sessions", slow)
    searching = [asyncio.ensure_future(ada.get("/api/sessions/?search=x")) for _ in range(6)]
    try:
        await until(lambda: threads._searches.unfinished == 6)
        refused = await ada.get("/api/sessions/?search=x")
        assert (error_of(refused), refused.headers["Retry-After"]) == ((503, "overloaded", None), "2")
        assert "django.request" not in {record.name for record in caplog.records}, "no stranger writes to the log"
        assert await ids(ada) == []
    finally:
        found.set()
    assert {response.status_code for response in await asyncio.gather(*searching)} == {200}
    assert (await ada.get("/api/sessions/?search=x")).status_code == 200
