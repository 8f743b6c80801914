"""The spine on a real Daphne: a prompt goes in, a model's tokens come out, and everybody sees the same."""

import asyncio
from collections.abc import Iterator
from uuid import UUID

import pytest

from chat.schemas import StreamAccepted
from tests.corpus import hostile_text, plain_text
from tests.live.site import FOREVER, SHORT, SILENT, Site, running_site


async def test_a_prompt_is_answered_while_it_is_written(site: Site) -> None:
    async with site.client() as client:
        answer = client.ask(await client.new_session(), "scripted:?tokens=30&rate=100")
        await answer.until_text()
        assert answer.history.end_of(answer.stream_id) == "", "text before the end"
        assert await answer.until_end() == "completed"
        await answer.until_over()
        assert answer.error is None
        assert answer.text == plain_text(30)
        assert answer.history.kinds() == ["thinking", "prompt", "streaming", "token", "end"]
        assert answer.history.problems() == []


async def test_what_is_stored_is_what_was_streamed_byte_for_byte(site: Site) -> None:
    async with site.client() as client:
        session = await client.new_session()
        answer = client.ask(session, "scripted:?tokens=40&corpus=hostile")
        await answer.until_end()
        stored = await client.answer_of(session, answer.stream_id)
        assert stored["text"] == answer.text == hostile_text(40)
        assert answer.history.problems() == []


async def test_who_does_not_want_to_wait_gets_202_and_reads_on_from_there(site: Site) -> None:
    async with site.client() as client:
        session = await client.new_session()
        await client.ask(session, SHORT).until_end()
        reply = await client.prompt(session, "scripted:?tokens=20&rate=200")
        assert reply.status == 202
        assert reply.headers["Location"] == f"/api/sessions/{session}/streams/{reply.data['stream_id']}/"
        viewer = client.follow(session, reply.data["seq"])
        assert await viewer.until_end(reply.data["stream_id"]) == "completed"
        assert viewer.history[0].status == "thinking"
        assert viewer.history.text(reply.data["stream_id"]) == plain_text(20)
        assert viewer.history.problems(after=reply.data["seq"]) == []
        stream = (await client.send("GET", reply.headers["Location"])).data
        assert (stream["state"], stream["reason"], stream["tokens"]) == ("completed", "completed", 20)
        assert stream["trace_id"] in {line.fields["trace"] for line in await site.lines("stream_start")}


async def test_a_prompt_sent_again_after_its_rollback_is_answered_as_the_schema_says(site: Site) -> None:
    async with site.client() as client:
        session = await client.new_session()
        first = (await client.prompt(session, FOREVER, key="once")).data
        other = (await client.prompt(session, SHORT, if_busy="rollback")).data
        await client.follow(session, 0).until_end(other["stream_id"])
        again = await client.prompt(session, FOREVER, key="once")
        assert (again.status, again.data) == (202, {**first, "message_id": None, "prompt_id": None})
        assert [StreamAccepted.model_validate(data).seq for data in (first, other, again.data)] == [0, other["seq"], 0]


@pytest.fixture
def forgetful() -> Iterator[Site]:
    """A server that keeps events for a second."""
    with running_site(EVENTS_RETENTION_SECONDS="1", CHAT_UPKEEP_SECONDS="0.3") as site:
        yield site


async def test_of_a_prompt_that_was_rolled_back_and_forgotten_its_end_is_left(forgetful: Site) -> None:
    async with forgetful.client() as client:
        session = await client.new_session()
        first = await client.ask(session, FOREVER, key="once").until_text()
        await client.prompt(session, SHORT, if_busy="rollback")
        assert await first.until_end() == "interrupted"
        async with asyncio.timeout(20):
            while await asyncio.to_thread(events_of, forgetful, first.stream_id):
                pass
        again = await client.ask(session, FOREVER, key="once").until_over()
        assert again.error is None
        [end] = again.history
        assert (end.type, end.seq, end.data["reason"]) == ("chat.end", None, "interrupted")
        assert (end.data["stream_id"], end.data["message_id"]) == (first.stream_id, None)
    assert await forgetful.lines("request_failed") == []


def events_of(site: Site, stream_id: str) -> int:
    with site.database() as database:
        query = "SELECT count(*) FROM events_event WHERE stream_id = ?"
        return int(database.execute(query, [UUID(stream_id).hex]).fetchone()[0])


@pytest.mark.parametrize("header", [True, False], ids=["Last-Event-ID", "after"])
async def test_a_viewer_who_comes_back_misses_nothing(site: Site, header: bool) -> None:
    async with site.client() as client:
        session = await client.new_session()
        stream = (await client.prompt(session, "scripted:?tokens=60&rate=100")).data["stream_id"]
        viewer = client.follow(session)
        histories = [viewer.history]
        for _ in range(5):
            cursor = viewer.cursor
            await viewer.until(lambda viewer: viewer.cursor >= cursor + 2)  # noqa: B023
            await viewer.disconnected()
            viewer = client.follow(session, viewer.cursor, header=header)
            histories.append(viewer.history)
        assert await viewer.until_end(stream) == "completed"
        seen = [event for history in histories for event in history]
        whole = client.follow(session, 0)
        await whole.until_end(stream)
        assert seen == [*whole.history][-len(seen) :], "each event once, whoever carried it"
        assert whole.history.text(stream) == plain_text(60)


async def test_a_page_that_is_reloaded_gets_a_snapshot_and_what_follows(site: Site) -> None:
    async with site.client() as client:
        session = await client.new_session()
        stream = (await client.prompt(session, "scripted:?tokens=60&rate=100")).data["stream_id"]
        first = client.follow(session, 0)
        await first.until(lambda viewer: len(viewer.history.of(stream)) > 5)
        second = client.follow(session)
        assert await second.until_end(stream) == "completed"
        [snapshot] = second.snapshots
        assert snapshot.seq is not None
        [question, answer] = snapshot.data["messages"]
        assert question["role"] == "user"
        assert snapshot.data["active_stream"]["stream_id"] == stream
        assert "reset" not in snapshot.data
        assert answer["text"] + second.history.text(stream) == plain_text(60)
        assert second.history.holes(snapshot.seq) == []


@pytest.mark.parametrize("cursor", ["999999", "-1", "abc", "1e3", "9" * 40, "٣", "1;DROP"])
async def test_a_cursor_that_was_never_given_out_gets_the_session_anew(site: Site, cursor: str) -> None:
    async with site.client() as client:
        session = await client.new_session()
        await client.ask(session, SHORT).until_end()
        viewer = client.follow(session, cursor, header=False)
        await viewer.until(lambda viewer: viewer.snapshots)
        assert viewer.snapshots[0].data["reset"] is True
        assert viewer.snapshots[0].data["messages"][-1]["text"] == plain_text(5)


async def test_a_session_without_events_opens_at_once(site: Site) -> None:
    async with site.client() as client:
        viewer = client.follow(await client.new_session())
        await viewer.until(lambda viewer: viewer.snapshots)
        assert viewer.snapshots[0].data == {"messages": [], "active_stream": None}


async def test_the_same_key_twice_is_one_prompt(site: Site) -> None:
    async with site.client() as client:
        session = await client.new_session()
        first = await client.prompt(session, SHORT, key="k")
        again = await client.prompt(session, SHORT, key="k")
        assert (first.status, first.data) == (again.status, again.data)
        assert (await client.prompt(session, "another", key="k")).error == (422, "idempotency_mismatch")
        assert len((await client.session(session))["messages"]) == 2


async def test_stop_from_another_connection(site: Site) -> None:
    async with site.client() as client, site.client() as stranger:
        session = await client.new_session()
        for prompt in (SILENT, FOREVER):
            answer = client.ask(session, prompt)
            await answer.until(lambda viewer: viewer.text or (prompt == SILENT and viewer.stream_id))  # noqa: B023
            assert (await stranger.send("POST", f"/api/sessions/{session}/stop/", {})).error == (404, "not_found")
            assert await client.stop(session, answer.stream_id)
            assert await answer.until_end() == "stopped"
            await answer.until_over()
            assert not await client.stop(session)


@pytest.mark.parametrize(
    ("policy", "first_ends", "second"),
    [
        ("interrupt", "interrupted", (202, "")),
        ("rollback", "interrupted", (202, "")),
        ("reject", "", (409, "session_busy")),
        ("enqueue", "", (202, "")),
    ],
)
async def test_what_a_second_prompt_does(site: Site, policy: str, first_ends: str, second: tuple[int, str]) -> None:
    async with site.client() as client:
        session = await client.new_session()
        first = await client.ask(session, FOREVER).until_text()
        reply = await client.prompt(session, SHORT, if_busy=policy)
        assert (reply.status, reply.data.get("error", {}).get("code", "")) == second
        if reply.status == 409:
            assert reply.headers["x-should-retry"] == "false"
        if first_ends:
            assert await first.until_end() == first_ends
        await client.stop(session, first.stream_id)
        if reply.status == 202:
            viewer = client.follow(session, 0)
            assert await viewer.until_end(reply.data["stream_id"]) == "completed"
            assert viewer.history.problems() == []


async def test_a_session_that_is_deleted_ends_its_viewers(site: Site) -> None:
    async with site.client() as client:
        session = await client.new_session()
        answer = await client.ask(session, FOREVER).until_text()
        viewer = await client.follow(session).until(lambda viewer: viewer.snapshots)
        assert (await client.send("DELETE", f"/api/sessions/{session}/")).status == 204
        await viewer.until_over()
        assert viewer.history[-1].data["deleted"] is True
        assert viewer.history.end_of(answer.stream_id) == await answer.until_end() == "stopped"
        assert (await client.prompt(session, SHORT)).error == (404, "not_found")


async def test_one_callers_sessions_are_not_anothers(site: Site) -> None:
    async with site.client() as client, site.client() as other:
        session = await client.new_session()
        for viewer in (other.follow(session), other.ask(session, SHORT)):
            await viewer.until_over()
            assert viewer.status == 404
