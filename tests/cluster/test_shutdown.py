"""A process that is asked to end lets what runs finish if it can, says what it could not, and loses no viewer."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from tests.cluster.client import Client
from tests.cluster.cluster import Cluster
from tests.faults.checker import violations
from tests.live.log_lines import parse
from tests.live.server import Runner

LONG = "scripted:?tokens=5000&rate=50"
FINISHES = "scripted:?tokens=50&rate=50"
GRACE_SECONDS = 4.0


@pytest.mark.parametrize("runner", ["serve", "uvicorn"])
async def test_a_drained_process_loses_nothing_and_its_viewers_go_on_elsewhere(
    cluster: Cluster, client: Client, runner: Runner
) -> None:
    a, b = await cluster.start("a", "b", runner=runner, SHUTDOWN_GRACE_SECONDS=str(GRACE_SECONDS))
    async with AsyncExitStack() as stack:
        sessions = [await client.at(a).new_session() for _ in range(4)]
        viewers = [await stack.enter_async_context(client.watch(session, a, b)) for session in sessions]
        _, writer = await asyncio.open_connection("127.0.0.1", a.port)
        stack.callback(writer.close)
        writer.write(b"POST /api/sessions/ HTTP/1.1\r\nHost: localhost\r\n")  # half a request
        streams = [await client.at(a).stream_id(session, LONG) for session in sessions[1:]]
        streams.insert(0, await client.at(a).stream_id(sessions[0], FINISHES))
        for viewer, stream in zip(viewers, streams, strict=True):
            await viewer.tokens_of(stream)
        asked = time.monotonic()
        code = await cluster.drain("a")
        assert time.monotonic() - asked < GRACE_SECONDS + 4
        assert code in (0, -15)
        for viewer, session, stream, reason in zip(
            viewers, sessions, streams, ["completed", "shutdown", "shutdown", "shutdown"], strict=True
        ):
            assert (await viewer.end_of(stream)).data["reason"] == reason
            await viewer.until(lambda viewer: len(viewer.statuses) == 2)
            again = await client.at(b).stream_id(session, FINISHES)
            await viewer.end_of(again)
            assert viewer.breaks == []
            assert violations([viewer], await client.at(b).session(session)) == []
    for name in ("stream_end", "stream_start"):  # an earlier test may have left a stream, which `a` has ended
        theirs = [parse(line)[3]["session"] for line in await cluster.log_lines("a", name)]
        assert sorted(session for session in theirs if session in sessions) == sorted(sessions)


async def test_a_draining_process_takes_no_prompt_and_says_when_to_come_back(cluster: Cluster, client: Client) -> None:
    [a] = await cluster.start("a", SHUTDOWN_GRACE_SECONDS=str(GRACE_SECONDS))
    session = await client.at(a).new_session()
    async with client.watch(session, a) as viewer:
        stream = await client.at(a).stream_id(session, LONG)
        await viewer.tokens_of(stream)
        reader, writer = await asyncio.open_connection("127.0.0.1", a.port)
        head = (
            f"POST /api/sessions/{session}/streams/ HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {cluster.key}\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
        )
        writer.write(head.encode())
        await writer.drain()
        await client.at(a).send("GET", "/healthz")  # by now it has come
        draining = asyncio.create_task(cluster.drain("a"))
        await cluster.until_logged("a", "draining")
        writer.write(b'{"prompt": "a"}')
        answer = (await asyncio.wait_for(reader.read(65536), 3)).decode()
        writer.close()
        assert answer.startswith("HTTP/1.1 503")
        assert "shutting_down" in answer
        assert "retry-after: 2" in answer.lower()
        assert await draining == 0
