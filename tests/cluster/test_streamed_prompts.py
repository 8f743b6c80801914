"""Who asks and reads the answer on one connection: what its leaving, and its asking once more, mean elsewhere."""

import asyncio

import pytest

from tests.cluster.client import Client
from tests.cluster.cluster import Cluster

FOREVER = "scripted:?tokens=100000&rate=50"
SHORT = "scripted:?tokens=50&rate=50"
LEAVING = [("cancel", FOREVER, "disconnected"), ("continue", SHORT, "completed")]


@pytest.mark.parametrize(("on_disconnect", "prompt", "reason"), LEAVING)
async def test_what_the_leaving_of_who_asked_means_is_seen_in_every_process(
    standing: Cluster, client: Client, on_disconnect: str, prompt: str, reason: str
) -> None:
    a, b = client.at(standing["a"]), client.at(standing["b"])
    session = await a.new_session()
    async with client.watch(session, standing["b"]) as viewer:
        asker = a.ask(session, prompt, on_disconnect=on_disconnect)
        await asker.until_text()
        left = await asker.disconnected()
        end = await viewer.end_of(asker.stream_id)
        assert end.data["reason"] == reason
        assert reason == "completed" or end.at - left < 1.0
        stored = await b.answer_of(session, asker.stream_id)
        assert stored["text"] == viewer.text(asker.stream_id) != ""
        assert viewer.text(asker.stream_id).startswith(asker.text)


async def test_one_idempotency_key_streams_the_same_bytes_at_every_process(standing: Cluster, client: Client) -> None:
    session = await client.at(standing["a"]).new_session()
    first = client.at(standing["a"]).ask(session, SHORT, key="one")
    await first.until_text()
    second = client.at(standing["b"]).ask(session, SHORT, key="one")
    await asyncio.gather(first.until_over(), second.until_over())
    late = await client.at(standing["c"]).ask(session, SHORT, key="one").until_over()
    assert first.history.end_of(first.stream_id) == "completed"
    assert first.text != ""
    assert b"".join(first.bodies) == b"".join(second.bodies) == b"".join(late.bodies)
    assert len((await client.at(standing["b"]).session(session))["messages"]) == 2


@pytest.mark.parametrize(("on_disconnect", "prompt", "reason"), LEAVING)
async def test_a_repeat_after_a_broken_connection_reads_what_that_left(
    standing: Cluster, client: Client, on_disconnect: str, prompt: str, reason: str
) -> None:
    session = await client.at(standing["a"]).new_session()
    broken = client.at(standing["a"]).ask(session, prompt, key="again", on_disconnect=on_disconnect)
    await broken.until_text()
    await broken.disconnected()
    again = client.at(standing["b"]).ask(session, prompt, key="again", on_disconnect=on_disconnect)
    await again.until_over()
    assert again.stream_id == broken.stream_id
    assert again.history.end_of(again.stream_id) == reason
    assert again.text == (await client.at(standing["b"]).answer_of(session, again.stream_id))["text"]
    assert again.text.startswith(broken.text)
