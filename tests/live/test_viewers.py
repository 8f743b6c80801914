"""Many viewers of one session, early and late, steady and limited: all read the same bytes."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from random import Random

import pytest

from events.core.sse import RETRY
from tests.client import Viewer
from tests.corpus import plain_text
from tests.live.server import PROJECT, environment
from tests.live.site import FOREVER, SHORT, Line, Site, running_site

PROMPT = "scripted:?tokens=100&rate=50"


@pytest.fixture(scope="module")
def impatient() -> Iterator[Site]:
    """A server that beats often and ends every connection soon."""
    with running_site(EVENTS_HEARTBEAT_SECONDS="0.2", EVENTS_MAX_CONNECTION_BYTES="1000") as site:
        yield site


def read(viewer: Viewer) -> bytes:
    body = b"".join(viewer.bodies)
    assert body.startswith(RETRY)
    return body.removeprefix(RETRY)


async def test_fifty_viewers_read_the_same_bytes_and_they_are_what_is_stored(site: Site) -> None:
    """Ten come before the prompt, forty while it is answered: from the beginning, from a cursor, from a snapshot."""
    random = Random(7)
    async with site.client() as client:
        session = await client.new_session()
        viewers = [await client.follow(session, 0).until_open() for _ in range(10)]
        answer = client.ask(session, "scripted:?tokens=400&rate=100")  # 20 batches at least, however busy it is
        for number in range(40):
            await viewers[0].until(lambda viewer: len(viewer.history) > number // 3)  # noqa: B023
            after = random.choice([0, None, random.randrange(viewers[0].cursor + 1)])
            viewers.append(client.follow(session, after))
        await answer.until_over()
        assert answer.text == plain_text(400)
        for viewer in viewers:
            await viewer.until_end(answer.stream_id)
        whole = read(viewers[0])
        assert read(answer) == whole
        for viewer in viewers:
            if viewer.snapshots:
                [snapshot] = viewer.snapshots
                said = [message["text"] for message in snapshot.data["messages"] if message["role"] == "assistant"]
                assert "".join(said) + viewer.history.text(answer.stream_id) == answer.text
            else:
                assert whole.endswith(read(viewer))
                assert viewer.history.holes(viewer.history[0].seq - 1 if viewer.history[0].seq else 0) == []
        assert (await client.answer_of(session, answer.stream_id))["text"] == answer.text


async def test_a_connection_that_carried_enough_ends_in_order_and_nothing_is_missing(impatient: Site) -> None:
    async with impatient.client() as client:
        session = await client.new_session()
        stream = (await client.prompt(session, PROMPT)).data["stream_id"]
        viewer = client.follow(session, 0)
        seen, connections = [*viewer.history], 1
        while not viewer.history.end_of(stream):
            await viewer.until_over()
            assert viewer.error is None, "a clean end, between two events"
            seen += [each for each in viewer.history if each.type != "ping"]
            viewer, connections = client.follow(session, viewer.cursor), connections + 1
            await viewer.until(lambda viewer: viewer.over.done() or viewer.history.end_of(stream))
        seen += [each for each in viewer.history if each.type != "ping"]
        assert connections > 2
        assert [each.seq for each in seen] == list(range(1, len(seen) + 1))
        assert "".join(each.data["text"] for each in seen if each.type == "chat.token") == plain_text(100)


async def test_who_asked_is_never_limited(impatient: Site) -> None:
    async with impatient.client() as client:
        answer = client.ask(await client.new_session(), PROMPT)
        assert await answer.until_end() == "completed"
        await answer.until_over()
        assert (answer.text, answer.error) == (plain_text(100), None)


async def test_a_heartbeat_tells_the_head_of_the_log_and_has_no_id(impatient: Site) -> None:
    async with impatient.client() as client:
        session = await client.new_session()
        await client.ask(session, SHORT).until_end()
        viewer = client.follow(session)
        await viewer.until(lambda viewer: len(viewer.history) >= 2)
        assert {(each.type, each.seq) for each in viewer.history} == {("ping", None)}
        assert {each.data["seq"] for each in viewer.history} == {viewer.cursor}


async def test_a_viewer_whose_session_is_gone_is_let_go_at_the_next_heartbeat(impatient: Site) -> None:
    """The owner logs out: the page's connections end, and what it asked for with `cancel` ends too."""
    async with impatient.client() as client:
        session = await client.new_session()
        answer = await client.ask(session, FOREVER).until_text()
        viewer = await client.follow(session).until(lambda viewer: viewer.snapshots)
        await asyncio.to_thread(forget_everybody, impatient)
        await asyncio.gather(viewer.until_over(5), answer.until_over(5))
        lines = await impatient.until_lines(
            lambda lines: any(line.fields["session"] == session for line in lines), "stream_end"
        )
        assert [line.fields["reason"] for line in lines if line.fields["session"] == session] == ["disconnected"]


async def test_a_key_that_is_revoked_breaks_the_answer_off(impatient: Site) -> None:
    """A clean end without a terminal event would look as if the model had nothing more to say."""
    key = await asyncio.to_thread(new_key, impatient)
    async with impatient.client(key) as client:
        session = await client.new_session()
        answer = await client.ask(session, FOREVER).until_text()
        await asyncio.to_thread(revoke_every_key, impatient)
        await answer.until_over(5)
        assert answer.error is not None
        told = answer.history[-1]
        assert (told.type, told.seq, told.data["code"], told.stream_id) == (
            "chat.error",
            None,
            "forbidden",
            answer.stream_id,
        )

        def here(lines: list[Line]) -> list[str]:
            return [line.event for line in lines if session in line.fields.get("path", "")]

        lines = await impatient.until_lines(here, "response_cut", "request_failed")
        assert here(lines) == ["response_cut"], "nothing that could be reported as a defect"


def new_key(site: Site) -> str:
    command = [sys.executable, "manage.py", "create_api_key", "ada", "--create-user"]
    env = environment(site.server.data_dir, {})
    return subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=True).stdout.strip()


def revoke_every_key(site: Site) -> None:
    with site.database() as database:
        database.execute("UPDATE chat_apikey SET revoked_at = CURRENT_TIMESTAMP")


def forget_everybody(site: Site) -> None:
    with site.database() as database:
        database.execute("DELETE FROM django_session")
