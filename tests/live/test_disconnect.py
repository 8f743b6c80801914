"""Who asked and left is noticed, and the model stops within a second; the endpoint itself says when."""

import asyncio
from uuid import uuid4

import pytest

from tests.client import Client
from tests.live.raw_client import RawClient
from tests.live.site import FOREVER, SILENT, Line, Site

NOTICED_SECONDS = 1.0


def unique(script: str) -> str:
    """The same answer, and the endpoint's record of it can be told from all others."""
    return f"{script}&salt={uuid4().hex}"


async def end_of(client: Client, session: str, stream_id: str) -> str:
    viewer = client.follow(session, 0)
    return await viewer.until_end(stream_id)


async def test_in_mid_stream(site: Site) -> None:
    async with site.client() as client:
        session, prompt = await client.new_session(), unique(FOREVER)
        answer = await client.ask(session, prompt).until_text()
        left_at = await answer.disconnected()
        assert await site.until_closed(client, prompt) - left_at < NOTICED_SECONDS
        assert await end_of(client, session, answer.stream_id) == "disconnected"
        stored = await client.answer_of(session, answer.stream_id)
        assert stored["text"].startswith(answer.text), "what the model had said by then is kept"
        assert stored["state"] == "stopped"


async def test_before_the_first_token(site: Site) -> None:
    async with site.client() as client:
        session, prompt = await client.new_session(), unique(SILENT)
        answer = await client.ask(session, prompt).until(lambda viewer: viewer.stream_id)
        await site.until_asked(client, prompt)
        left_at = await answer.disconnected()
        assert await site.until_closed(client, prompt) - left_at < NOTICED_SECONDS
        assert await end_of(client, session, answer.stream_id) == "disconnected"


async def test_in_the_queue(site: Site) -> None:
    async with site.client() as client:
        session, prompt = await client.new_session(), unique(FOREVER)
        first = await client.ask(session, FOREVER).until_text()
        waiting = client.ask(session, prompt, if_busy="enqueue")
        await waiting.until(lambda viewer: viewer.stream_id)
        await waiting.disconnected()
        assert await end_of(client, session, waiting.stream_id) == "disconnected"
        assert not first.over.done()
        await client.stop(session)
        await first.until_end()
        assert await site.asked(client, prompt) == [], "the model was never asked"


async def test_while_the_prompt_is_being_accepted(site: Site) -> None:
    """The request is sent and its connection closed in one go, a few dozen times: nothing runs on for nobody."""
    async with site.client() as client:
        session = await client.new_session()
        for _ in range(30):
            await asyncio.to_thread(ask_and_leave, site, session, client.credentials())

        def all_ended(lines: list[Line]) -> bool:
            own = [line.event for line in lines if line.fields["session"] == session]
            return own.count("stream_start") == own.count("stream_end")

        lines = await site.until_lines(all_ended, "stream_start", "stream_end")
        reasons = {
            line.fields["reason"] for line in lines if "reason" in line.fields and line.fields["session"] == session
        }
        assert reasons <= {"disconnected", "interrupted"}
        async with asyncio.timeout(10):  # the last of them may have been taken up since
            while (await client.session(session))["active_stream"] is not None:
                pass


def ask_and_leave(site: Site, session: str, credentials: dict[str, str]) -> None:
    body = b'{"prompt":"%b"}' % FOREVER.encode()
    head = [
        f"POST /api/sessions/{session}/streams/ HTTP/1.1",
        f"Host: 127.0.0.1:{site.server.port}",
        *(f"{name}: {value}" for name, value in credentials.items()),
        "Accept: text/event-stream",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    with RawClient(site.server) as client:
        client.send("\r\n".join([*head, "", ""]).encode() + body)


@pytest.mark.parametrize("script", [FOREVER, SILENT])
async def test_stop_closes_the_models_connection(site: Site, script: str) -> None:
    async with site.client() as client:
        session, prompt = await client.new_session(), unique(script)
        answer = await client.ask(session, prompt).until(lambda viewer: viewer.stream_id)
        await site.until_asked(client, prompt)
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        assert await client.stop(session)
        assert await site.until_closed(client, prompt) - asked_at < NOTICED_SECONDS
        assert await answer.until_end() == "stopped"


async def test_a_second_prompt_closes_the_models_connection(site: Site) -> None:
    async with site.client() as client:
        session, prompt = await client.new_session(), unique(FOREVER)
        await client.ask(session, prompt).until_text()
        asked_at = asyncio.get_running_loop().time()
        second = client.ask(session, "scripted:?tokens=3")
        assert await site.until_closed(client, prompt) - asked_at < NOTICED_SECONDS
        assert await second.until_end() == "completed"


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "202"])
async def test_who_asks_to_continue_may_leave(site: Site, streamed: bool) -> None:
    async with site.client() as client:
        session, prompt = await client.new_session(), "scripted:?tokens=50&rate=50"
        if streamed:
            answer = await client.ask(session, prompt, on_disconnect="continue").until_text()
            stream = answer.stream_id
            await answer.disconnected()
        else:
            stream = (await client.prompt(session, prompt)).data["stream_id"]
        assert await end_of(client, session, stream) == "completed"


async def test_a_viewer_who_only_watched_may_leave(site: Site) -> None:
    async with site.client() as client:
        session = await client.new_session()
        answer = await client.ask(session, "scripted:?tokens=50&rate=50").until_text()
        viewer = client.follow(session, 0)
        await viewer.until(lambda viewer: viewer.history)
        await viewer.disconnected()
        assert await answer.until_end() == "completed"


async def test_who_sends_half_a_prompt_and_leaves_has_asked_nothing(site: Site) -> None:
    async with site.client() as client:
        session = await client.new_session()

        def half() -> None:
            with RawClient(site.server) as raw:
                raw.send(f"POST /api/sessions/{session}/streams/ HTTP/1.1\r\nHost: localhost\r\n".encode())
                raw.send(b'Content-Length: 100\r\nContent-Type: application/json\r\n\r\n{"prompt":')

        await asyncio.to_thread(half)
        assert (await client.session(session))["messages"] == []
