"""Who does not read costs little, also where events are written at once; who speaks an older HTTP gets all the same."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from events.core.sse import RETRY, Decoder
from tests.client import Client
from tests.corpus import plain_text
from tests.live.raw_client import RawClient
from tests.live.server import Server, wait_until
from tests.live.site import Site, running_site

MEBIBYTE = 1 << 20
MUCH = "scripted:?tokens=1000000&rate=100&corpus=hostile"  # some MiB a second


@pytest.fixture(scope="module")
def strict() -> Iterator[Site]:
    """A server that soon cuts who does not read."""
    with running_site(SEND_TIMEOUT_SECONDS="1") as site:
        yield site


def request(client: Client, session: str, prompt: str, version: str, **options: str) -> bytes:
    """What `Client.ask` sends."""
    body = json.dumps({"prompt": prompt, **options})
    headers = {
        "Host": "localhost",
        "Accept": "text/event-stream",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **client.credentials(),
    }
    first = f"POST /api/sessions/{session}/streams/ HTTP/{version}"
    return "\r\n".join([first, *map(": ".join, headers.items()), "", body]).encode()


def most_memory_until_cut(server: Server, request: bytes) -> int:
    """How many bytes the server has grown by at most while the client that sent this does not read."""
    grown, before_bytes = [0], server.memory_bytes()

    def is_cut() -> bool:
        grown.append(server.memory_bytes() - before_bytes)
        return "connection_cut" in server.log_text()

    with RawClient(server, receive_buffer_bytes=65536) as raw:
        raw.send(request)
        raw.read_until(b"chat.token")
        wait_until(is_cut, timeout_seconds=15)
    return max(grown)


def read_to_end(server: Server, request: bytes) -> bytes:
    with RawClient(server) as raw:
        raw.send(request)
        return raw.read_to_end()


async def test_who_asks_for_much_and_does_not_read_is_cut_and_has_cost_little(strict: Site) -> None:
    """The response has no limit of its own, as it cannot be resumed.

    The stream goes on after the cut: its end would take the whole answer into memory, at just that moment or not.
    """
    async with strict.client() as client:
        session = await client.new_session()
        asking = request(client, session, MUCH, "1.1", on_disconnect="continue")
        grown = await asyncio.to_thread(most_memory_until_cut, strict.server, asking)
        await client.stop(session)
        assert grown < 16 * MEBIBYTE


async def test_a_body_that_ends_with_its_connection_is_whole_and_has_no_chunks(strict: Site) -> None:
    async with strict.client() as client:
        asking = request(client, await client.new_session(), "scripted:?tokens=20&rate=50", "1.0")
        response = await asyncio.to_thread(read_to_end, strict.server, asking)
    body = response.partition(b"\r\n\r\n")[2]
    frames = Decoder().feed(body)
    texts = [json.loads(frame.data)["text"] for frame in frames if frame.event == "chat.token"]
    assert len(texts) > 1
    assert "".join(texts) == plain_text(20)
    assert frames[-1].event == "chat.end"
    lines = body.removeprefix(RETRY).split(b"\n")
    assert [line for line in lines if line and not line.startswith((b"id: ", b"event: ", b"data: "))] == []
