"""Sessions over the API: made, read, renamed, deleted, stopped."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils.dateparse import parse_datetime

from chat.models import ChatSession, Message, Stream
from chat.stream_state import EndReason, StreamState
from chat.threads import in_thread
from tests.api.client import ApiClient, error_of


async def conversation(session_id: str, turns: int = 1) -> list[Message]:
    """Finished turns, as they stand in the database once their streams have ended."""

    def make() -> list[Message]:
        messages = []
        for turn in range(1, turns + 1):
            asked = Message(session_id=UUID(session_id), position=2 * turn, role="user", text=f"question {turn}", seq=1)
            told = Message(
                session_id=UUID(session_id),
                position=2 * turn + 1,
                role="assistant",
                text=f"answer {turn}",
                reason="completed",
                parent=asked,
                seq=1,
            )
            messages += [asked, told]
        Message.objects.bulk_create(messages)
        Stream.objects.bulk_create(
            Stream(
                session_id=UUID(session_id),
                turn=asked.position // 2,
                prompt=asked,
                message=told,
                state=StreamState.COMPLETED,
                reason=EndReason.COMPLETED,
                tokens=7,
                batches=2,
                completion_tokens=7,
                first_token_seconds=0.25,
                duration_seconds=1.5,
            )
            for asked, told in zip(messages[::2], messages[1::2], strict=True)
        )
        return messages

    return await in_thread(make)


async def test_a_session_is_made(ada: ApiClient) -> None:
    response = await ada.post("/api/sessions/", {"title": "  Plans \n for  today "})
    made = response.json()
    assert response.status_code == 201
    assert made["title"] == "Plans for today"
    assert made["url"] == f"/s/{UUID(made['id'])}/"
    created_at = parse_datetime(made["created_at"])
    assert created_at is not None
    assert created_at.tzinfo is not None


async def test_a_session_needs_no_title_and_no_body(ada: ApiClient) -> None:
    response = await ada.send("POST", "/api/sessions/", b"", Content_Type="text/plain")
    assert (response.status_code, response.json()["title"]) == (201, "")


async def test_an_anonymous_browsers_session_is_its_own(database: None) -> None:
    browser = await ApiClient.browser()
    session_id = (await browser.new_session())["id"]
    session = await in_thread(lambda: ChatSession.objects.get(pk=session_id))
    assert (session.user_id, session.anonymous_id is None) == (None, False)
    assert (await browser.get(f"/api/sessions/{session_id}/")).status_code == 200


async def test_a_session_is_read_with_its_messages(ada: ApiClient) -> None:
    session_id = (await ada.new_session("Facts"))["id"]
    prompt, answer = await conversation(session_id)
    read = (await ada.get(f"/api/sessions/{session_id}/")).json()
    assert (read["title"], read["active"], read["active_stream"], read["last_seq"]) == ("Facts", False, None, 0)
    first, second = read["messages"]
    assert first.keys() == {"id", "role", "text", "state", "created_at"}
    assert second.keys() == first.keys() | {"reason", "parent_id", "stream_id"}
    assert (first["id"], second["id"], second["parent_id"]) == (str(prompt.id), str(answer.id), str(prompt.id))
    assert (second["text"], second["reason"], second["state"]) == ("answer 1", "completed", "completed")


async def test_older_messages_come_page_by_page(ada: ApiClient) -> None:
    path = f"/api/sessions/{(session_id := (await ada.new_session())['id'])}/"
    everything = [str(message.id) for message in await conversation(session_id, turns=250)]
    page = (await ada.get(path)).json()["messages"]
    seen: list[str] = []
    while page:
        seen = [message["id"] for message in page] + seen
        page = (await ada.get(f"{path}?before={seen[0]}")).json()["messages"]
    assert seen == everything


async def test_a_message_of_another_session_is_no_cursor(ada: ApiClient) -> None:
    other = await conversation((await ada.new_session())["id"])
    path = f"/api/sessions/{(await ada.new_session())['id']}/"
    assert error_of(await ada.get(f"{path}?before={other[0].id}")) == (400, "invalid_request", "before")


@pytest.mark.parametrize("path", ["/api/sessions/", "/api/sessions/{id}/"])
async def test_an_empty_cursor_is_the_first_page(ada: ApiClient, path: str) -> None:
    path = path.format(id=(session_id := (await ada.new_session())["id"]))
    await conversation(session_id)
    assert (await ada.get(f"{path}?before=")).json() == (await ada.get(path)).json()


async def test_a_session_is_renamed(ada: ApiClient) -> None:
    path = f"/api/sessions/{(await ada.new_session('old'))['id']}/"
    response = await ada.patch(path, {"title": "new"})
    assert (response.status_code, response.json()["title"]) == (200, "new")
    assert (await ada.get(path)).json()["title"] == "new"


async def test_a_deleted_session_is_gone(ada: ApiClient) -> None:
    path = f"/api/sessions/{(await ada.new_session())['id']}/"
    gone = await ada.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    assert error_of(await ada.get(path)) == (404, "not_found", None)
    assert error_of(await ada.delete(path)) == (404, "not_found", None)
    assert (await ada.get("/api/sessions/")).json()["sessions"] == []


async def test_a_stream_is_described(ada: ApiClient) -> None:
    session_id = (await ada.new_session())["id"]
    prompt, answer = await conversation(session_id)
    stream = await in_thread(Stream.objects.get, message=answer)
    stream_id = stream.id
    said = (await ada.get(f"/api/sessions/{session_id}/streams/{stream_id}/")).json()
    assert (said["state"], said["reason"], said["error_message"]) == ("completed", "completed", None)
    assert (said["first_token_seconds"], said["duration_seconds"], said["tokens"], said["batches"]) == (0.25, 1.5, 7, 2)
    assert said["usage"] == {"prompt_tokens": None, "completion_tokens": 7}
    await in_thread(Stream.objects.update, tokens=None)
    assert (await ada.get(f"/api/sessions/{session_id}/streams/{stream_id}/")).json()["tokens"] is None
    assert said["trace_id"] == stream.trace_id.hex, "as in its log lines"
    assert (said["message_id"], said["prompt_id"]) == (str(answer.id), str(prompt.id))


async def test_a_stream_is_found_in_its_own_session_only(ada: ApiClient) -> None:
    _, answer = await conversation((await ada.new_session())["id"])
    stream_id = (await in_thread(Stream.objects.get, message=answer)).id
    path = f"/api/sessions/{(await ada.new_session())['id']}/streams/{stream_id}/"
    assert error_of(await ada.get(path)) == (404, "not_found", None)


@pytest.mark.parametrize("body", [None, {}, {"stream_id": None}, {"stream_id": str(uuid4())}])
async def test_stopping_what_does_not_run_changes_nothing(ada: ApiClient, body: Any) -> None:
    response = await ada.post(f"/api/sessions/{(await ada.new_session())['id']}/stop/", body)
    assert (response.status_code, response.json()) == (200, {"stopped": False})
