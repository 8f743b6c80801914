"""The admin: staff see metadata, nobody edits, text is for those with the permission, streams can be stopped."""

from typing import Any
from uuid import UUID

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chat import api_keys, streams
from chat.models import ApiKey, ChatSession, Message, Stream
from chat.stream_state import StreamState

pytestmark = pytest.mark.django_db

SECRET = "<b>the secret plan</b>"
LISTS = ["/admin/chat/chatsession/", "/admin/chat/stream/", "/admin/chat/apikey/"]
VIEWS = ["view_chatsession", "view_message", "view_stream", "view_apikey"]


def staff(*permissions: str, name: str = "root") -> Client:
    """A logged-in staff member with these permissions and no others."""
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def conversation(state: StreamState = StreamState.COMPLETED) -> Stream:
    """A session of Ada's in which every text is the secret."""
    ada, _ = User.objects.get_or_create(username="ada")
    session = ChatSession.objects.create(user=ada, title=SECRET, turns=1)
    prompt = Message.objects.create(session=session, position=2, role="user", text=SECRET)
    answer = Message.objects.create(session=session, position=3, role="assistant", text=SECRET, parent=prompt)
    return Stream.objects.create(
        session=session,
        turn=1,
        prompt=prompt,
        message=answer,
        state=state,
        reason="completed" if state == StreamState.COMPLETED else "",
        error_message=SECRET,
        options={"stop": SECRET},
        model="smollm",
        first_token_seconds=0.25,
        duration_seconds=2.25,
        tokens=100,
        batches=20,
    )


def pages_of(stream: Stream) -> list[str]:
    return [*LISTS, f"/admin/chat/chatsession/{stream.session_id}/change/", f"/admin/chat/stream/{stream.pk}/change/"]


# --- who gets in ---


@pytest.mark.parametrize("is_user", [False, True])
def test_only_staff_get_in(client: Client, is_user: bool) -> None:
    stream = conversation()
    if is_user:
        client.force_login(User.objects.get(username="ada"))
    for path in pages_of(stream):
        assert client.get(path)["Location"].startswith("/admin/login/")


def test_staff_without_permissions_see_nothing() -> None:
    stream, client = conversation(), staff()
    assert [client.get(path).status_code for path in pages_of(stream)] == [403] * 5


def test_staff_with_permissions_see_every_page() -> None:
    stream, client = conversation(), staff(*VIEWS)
    assert [client.get(path).status_code for path in pages_of(stream)] == [200] * 5


# --- text ---


def shows_text(client: Client, path: str) -> bool:
    content = client.get(path).content.decode()
    assert SECRET not in content  # escaped, if at all
    return "the secret plan" in content


def test_text_is_hidden_from_staff_in_general() -> None:
    stream, client = conversation(), staff(*VIEWS)
    history = [path.replace("change", "history") for path in pages_of(stream)[3:]]
    assert [path for path in pages_of(stream) + history if shows_text(client, path)] == []


def test_text_is_not_even_read_for_them() -> None:
    stream, client = conversation(), staff(*VIEWS)
    with CaptureQueriesContext(connection) as queries:
        client.get(f"/admin/chat/chatsession/{stream.session_id}/change/")
    read = [query["sql"].partition(" FROM ")[0] for query in queries if 'FROM "chat_message"' in query["sql"]]
    assert read
    assert not any('"chat_message"."text",' in columns for columns in read)


def test_text_is_shown_escaped_to_those_who_may_read_it() -> None:
    stream, client = conversation(), staff(*VIEWS, "view_text")
    sessions, _, _, session, one_stream = pages_of(stream)
    assert all(shows_text(client, path) for path in (sessions, session, one_stream))


def test_each_look_is_recorded_without_the_text() -> None:
    stream, client = conversation(), staff(*VIEWS, "view_text")
    client.get(f"/admin/chat/chatsession/{stream.session_id}/change/")
    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.object_id) == ("root", str(stream.session_id))
    assert "secret" not in str([entry.object_repr, entry.change_message])


def test_deleting_a_user_takes_everything_along_and_shows_no_text() -> None:
    stream, client = conversation(), staff("view_user", "change_user", "delete_user")
    path = f"/admin/auth/user/{User.objects.get(username='ada').pk}/delete/"
    page = client.get(path).content.decode()
    assert str(stream.session_id) in page
    assert "the secret plan" not in page
    client.post(path, {"post": "yes"})
    assert not ChatSession.objects.exists()


@pytest.mark.parametrize("search", ["secret", "the secret plan", "smollm"])
def test_search_never_looks_into_text(search: str) -> None:
    conversation()
    client = staff(*VIEWS, "view_text")
    for path in LISTS[:2]:
        assert client.get(path, {"q": search}).context["cl"].result_count == 0


def test_search_finds_ids_and_users() -> None:
    stream, client = conversation(), staff(*VIEWS)
    assert client.get(LISTS[1], {"q": stream.trace_id.hex}).context["cl"].result_count == 1  # as the log has it
    for path, ids in ((LISTS[0], [stream.session_id]), (LISTS[1], [stream.pk, stream.session_id, stream.trace_id])):
        for term in ["ada", *(str(each) for each in ids), *(str(each)[:13] for each in ids)]:
            assert client.get(path, {"q": term}).context["cl"].result_count == 1, (path, term)


# --- nothing is edited ---


def test_nothing_is_added_changed_or_deleted() -> None:
    stream = conversation()
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    for path in pages_of(stream)[3:]:
        assert client.post(path, {"title": "changed"}).status_code == 403
        assert client.post(path.replace("change", "delete"), {"post": "yes"}).status_code == 403
    assert [client.get(f"{path}add/").status_code for path in LISTS] == [403, 403, 200]
    stream.session.refresh_from_db()
    assert stream.session.title == SECRET


# --- the lists ---


def test_a_stream_is_listed_with_its_measures() -> None:
    short = f">{str(conversation().id)[:8]}…<"
    Stream.objects.update(started_at="2026-01-02T03:04:05Z")
    row = staff(*VIEWS).get(LISTS[1]).content.decode()
    started = ">2026-01-02 03:04:05<"
    for cell in (short, "badge-completed", "ada", "smollm", started, ">250<", ">50.0<", ">100 (20)<"):
        assert cell in row


def test_tokens_that_nobody_counted_are_not_made_up() -> None:
    conversation()
    Stream.objects.update(tokens=None)
    row = staff(*VIEWS).get(LISTS[1]).content.decode()
    assert ">– (20)<" in row
    assert 'class="field-tokens_per_second">–<' in row


def test_what_was_not_measured_is_not_made_up() -> None:
    Stream.objects.create(session=ChatSession.objects.create(), turn=1)
    row = staff(*VIEWS).get(LISTS[1]).content.decode()
    assert ('class="field-first_token_ms">–<' in row, 'class="field-tokens_per_second">–<' in row) == (True, True)
    assert "anonymous browser" in row


@pytest.mark.parametrize("query", ["live=running", "live=waiting", "state__exact=failed", "model=other"])
def test_the_filters_filter(query: str) -> None:
    conversation()
    response = staff(*VIEWS).get(f"{LISTS[1]}?{query}&_facets=True")
    assert response.context["cl"].result_count == 0


def test_live_filters_find_what_is_live() -> None:
    running, waiting = conversation(StreamState.STREAMING), conversation(StreamState.QUEUED)
    client = staff(*VIEWS)
    for query, found in (("running", running), ("waiting", waiting)):
        assert list(client.get(f"{LISTS[1]}?live={query}").context["cl"].result_list) == [found]


@pytest.mark.parametrize("path", LISTS)
def test_a_long_list_takes_no_more_queries_than_a_short_one(path: str) -> None:
    client = staff(*VIEWS, "view_text", "stop_stream", "change_apikey")

    def queries(rows: int) -> int:
        for _ in range(rows):
            api_keys.create_api_key(conversation().session.user or User())
        cache.clear()
        with CaptureQueriesContext(connection) as captured:
            assert client.get(path).status_code == 200
        return len(captured)

    queries(1)  # content types and the like are read once
    assert queries(1) == queries(20)


def test_a_long_session_takes_no_more_queries_than_a_short_one() -> None:
    stream, client = conversation(), staff(*VIEWS, "view_text")
    path = f"/admin/chat/chatsession/{stream.session_id}/change/"

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(path).status_code == 200
        return len(captured)

    queries()
    short = queries()
    Message.objects.bulk_create(
        Message(session=stream.session, position=position, role="user", text="x", parent=stream.prompt)
        for position in range(4, 40)
    )
    ChatSession.objects.update(turns=20)
    assert queries() == short
    assert client.get(path).content.decode().count('class="message-text"') == 38


def test_of_a_very_long_session_the_newest_turns_are_shown() -> None:
    stream = conversation()
    Message.objects.bulk_create(
        Message(session=stream.session, position=position, role="user", text="x") for position in range(4, 602)
    )
    ChatSession.objects.update(turns=300)
    page = staff(*VIEWS, "view_text").get(f"/admin/chat/chatsession/{stream.session_id}/change/").content.decode()
    assert page.count('class="message-text"') == 201 - 2 + 2


# --- stopping ---


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """The streams that were told to stop."""
    ids: list[UUID] = []

    def stop_sync(stream_ids: list[UUID]) -> int:
        ids.extend(stream_ids)
        return len(stream_ids)

    monkeypatch.setattr(streams, "stop_sync", stop_sync)
    return ids


def choose(client: Client, *chosen: Stream, **more: str) -> Any:
    data = {"action": "stop_streams", "_selected_action": [str(stream.pk) for stream in chosen], **more}
    return client.post(LISTS[1], data)


def test_stopping_asks_first(stopped: list[UUID]) -> None:
    stream = conversation(StreamState.STREAMING)
    page = choose(staff(*VIEWS, "stop_stream"), stream).content.decode()
    assert f'value="{stream.pk}"' in page
    assert "Stop 1 stream?" in page
    assert stopped == []


def test_confirmed_it_stops_what_runs_and_says_so(stopped: list[UUID]) -> None:
    running, waiting, over = (
        conversation(state) for state in (StreamState.STREAMING, StreamState.QUEUED, StreamState.COMPLETED)
    )
    client = staff(*VIEWS, "stop_stream")
    response = choose(client, running, waiting, over, confirmed="yes")
    assert set(stopped) == {running.pk, waiting.pk}
    assert "Stopped 2 of 2 streams." in client.get(response["Location"]).content.decode()
    assert {entry.object_id for entry in LogEntry.objects.all()} == {str(running.pk), str(waiting.pk)}


def test_there_may_be_nothing_to_stop(stopped: list[UUID]) -> None:
    client = staff(*VIEWS, "stop_stream")
    response = choose(client, conversation(), confirmed="yes")
    assert "None of these streams is running" in client.get(response["Location"]).content.decode()
    assert stopped == []


@pytest.mark.parametrize("permissions", [VIEWS, [*VIEWS, "change_stream", "delete_stream"]])
def test_stopping_has_a_permission_of_its_own(stopped: list[UUID], permissions: list[str]) -> None:
    client = staff(*permissions)
    assert "stop_streams" not in client.get(LISTS[1]).content.decode()
    choose(client, conversation(StreamState.STREAMING), confirmed="yes")
    assert stopped == []


# --- API keys ---


def issue(client: Client, user: User) -> str:
    """The key as the page shows it, or nothing."""
    page = client.post("/admin/chat/apikey/add/", {"user": user.pk}).content.decode()
    return page.partition('<pre class="new-key">')[2].partition("</pre>")[0]


def test_a_new_key_is_shown_once_and_works() -> None:
    ada = User.objects.create_user("ada")
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    key = issue(root, ada)
    found = api_keys.find(key)
    assert found is not None
    assert found.user == ada
    assert "messages" not in root.cookies
    assert key not in str(list(LogEntry.objects.values()))
    for path in (LISTS[2], f"/admin/chat/apikey/{found.pk}/change/"):
        page = root.get(path).content.decode()
        assert (found.hint in page, key in page) == (True, False)


def test_a_key_for_somebody_else_takes_a_superuser() -> None:
    ada = User.objects.create_user("ada")
    client = staff("view_apikey", "add_apikey")
    assert issue(client, ada) == ""
    assert not ApiKey.objects.exists()
    assert issue(client, User.objects.get(username="root"))


@pytest.mark.parametrize(("permission", "is_revoked"), [("change_apikey", True), ("add_apikey", False)])
def test_keys_are_revoked_by_those_who_may(permission: str, is_revoked: bool) -> None:
    key = api_keys.create_api_key(User.objects.create_user("ada"))
    client = staff("view_apikey", permission)
    client.post(LISTS[2], {"action": "revoke", "_selected_action": [str(ApiKey.objects.get().pk)]})
    assert (api_keys.find(key) is None) == is_revoked


def test_the_pages_stay_within_a_policy_without_inline_script_or_style() -> None:
    stream = conversation(StreamState.STREAMING)
    client = staff(*VIEWS, "view_text", "stop_stream", "add_apikey")
    pages = [client.get(path) for path in [*pages_of(stream), "/admin/chat/apikey/add/"]] + [choose(client, stream)]
    for page in pages:
        html = page.content.decode()
        assert "chat/admin.css" in html
        assert all(forbidden not in html for forbidden in ("<script>", "<style>", " style=", " onclick="))
