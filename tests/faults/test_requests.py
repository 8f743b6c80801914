"""The same prompt is sent again and again, to several processes at once."""

import asyncio

from tests.cluster.cluster import Cluster
from tests.faults.conftest import up
from tests.faults.scene import Scenes

PROMPT = "scripted:?tokens=20&rate=200"


async def test_f17_double_submit(either: Cluster, scenes: Scenes) -> None:
    """One Idempotency-Key is one prompt and one stream; without a key, each click is a prompt of its own."""
    servers = await up(either, "a", "b")
    scene = await scenes.begin(either, servers[0])
    for server in servers:
        await scene.watch(server)
    chosen = [scenes.chance.choice(servers) for _ in range(8)]
    clients = [scene.client.at(server) for server in chosen]
    answers = await asyncio.gather(*(client.prompt(scene.session, PROMPT, key="k") for client in clients))
    assert {answer.status for answer in answers} == {202}
    [stream] = {answer.data["stream_id"] for answer in answers}
    scene.streams.append(stream)
    await scene.end()
    clicks = [scene.client.at(server).stream_id(scene.session, PROMPT) for server in servers]
    clicked = await asyncio.gather(*clicks)
    scene.streams += clicked
    for viewer in scene.viewers:
        reasons = {(await viewer.end_of(stream)).data["reason"] for stream in clicked}
        assert len(set(clicked)) == 2
        assert "completed" in reasons
        assert reasons <= {"completed", "interrupted"}
    await scene.verdict(servers[1])
    stored = await scene.client.at(servers[0]).session(scene.session)
    assert [message["role"] for message in stored["messages"]] == ["user", "assistant"] * 3
