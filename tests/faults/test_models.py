"""The model's endpoint misbehaves, and people leave or stop at any moment."""

import time
from uuid import uuid4

import pytest

from tests import client
from tests.client import Client
from tests.cluster.cluster import Cluster
from tests.faults.conftest import up
from tests.faults.endpoint import closed_at, records, until_asked
from tests.faults.scene import Scene, Scenes
from tests.live.server import Server

NOTICED_SECONDS = 1.0
ENDS = {  # of each fault of `scripted_answers`: the reason, or the code of the error
    "500": "provider_error",
    "429": "provider_unavailable",
    "503": "provider_unavailable",
    "drop": "provider_unavailable",
    "html": "provider_error",
    "hang": "provider_timeout",
    "hang_after": "provider_timeout",
    "reset": "provider_error",
    "close": "provider_error",
    "half_json": "provider_error",
    "half_line": "provider_error",
    "garbage": "provider_error",
    "deep": "provider_error",
    "big_line": "provider_error",
    "no_finish": "provider_error",
    "done_only": "provider_error",
    "error_frame": "provider_error",
    "no_done": "completed",
    "no_done_open": "completed",
    "two_finishes": "completed",
    "split_surrogate": "completed",
    "odd_text": "completed",
    "length": "length",
}


async def test_f15_upstream_mess(small: Cluster, scenes: Scenes) -> None:
    """All at once: each stream ends with the right code, never by hanging, and what had come is kept."""
    a, b = await up(small, "a", "b")
    asked: list[tuple[str, Scene]] = []
    for fault in scenes.chance.sample(sorted(ENDS), len(ENDS)):
        scene = await scenes.begin(small, a)
        await scene.watch(scenes.chance.choice([a, b]))
        at, size = scenes.chance.randint(0, 9), scenes.chance.choice([0, 5, 113])
        if fault in ("deep", "big_line"):
            size = 0
        await scene.ask(a, f"scripted:?fault={fault}&at={at}&tokens=10&slice={size}")
        asked.append((fault, scene))
    for fault, scene in asked:
        end = (await scene.end(30)).data
        assert end.get("reason", end.get("code")) == ENDS[fault], fault
        if fault in ("429", "503"):
            assert "in 7 seconds" in end["message"]
        await scene.verdict(b)


WINDOWS = {"before the first token": "first_delay=600", "in mid-stream": "tokens=100000&rate=50", "queued": "tokens=5"}


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("how", ["leaves", "stops"])
async def test_f16_cancel_windows(small: Cluster, endpoint: str, scenes: Scenes, window: str, how: str) -> None:
    """Whoever asked leaves or stops: the endpoint itself says when its connection was closed, or that it had none."""
    a, b = await up(small, "a", "b")
    scene = await scenes.begin(small, a)
    await scene.watch(a)
    async with Client(a.url, small.key) as asker:
        answer, prompt = await in_window(scene, asker, endpoint, a, window)
        asked_at = time.monotonic()
        if how == "leaves":
            asked_at = await answer.disconnected()
        else:
            server = a if window == "queued" else scenes.chance.choice([a, a, b])
            assert await scene.client.at(server).stop(scene.session, answer.stream_id)
            asked_at += 0 if server is a else 3  # without Redis another process says so with the next look at the log
        end = await scene.end()
        assert end.data["reason"] == ("disconnected" if how == "leaves" else "stopped")
        await model_left(scene, asker, endpoint, a, prompt, asked_at)
    await scene.verdict(b)


@pytest.mark.parametrize("window", WINDOWS)
async def test_f16_stopped_by_another_process(grown: Cluster, endpoint: str, scenes: Scenes, window: str) -> None:
    """With Redis it takes no longer than in the stream's own, also for a stream that waits for its turn."""
    a, b = await up(grown, "a", "b")
    scene = await scenes.begin(grown, a)
    await scene.watch(a)
    async with Client(a.url, grown.key) as asker:
        answer, prompt = await in_window(scene, asker, endpoint, a, window)
        asked_at = time.monotonic()
        assert await scene.client.at(b).stop(scene.session, answer.stream_id)
        end = await scene.end()
        assert end.data["reason"] == "stopped"
        assert end.at - asked_at < NOTICED_SECONDS
        await model_left(scene, asker, endpoint, a, prompt, asked_at)
    await scene.verdict(b)


@pytest.mark.parametrize("by", ["a", "b"])
async def test_f16_stopped_though_nobody_reads_the_answer(
    grown: Cluster, endpoint: str, scenes: Scenes, by: str
) -> None:
    """Non-streaming: the prompt was answered with 202, and no connection stands for it."""
    a, b = await up(grown, "a", "b")
    scene = await scenes.begin(grown, a)
    prompt = f"scripted:?{WINDOWS['in mid-stream']}&salt={uuid4().hex}"
    stream_id = await scene.ask(a, prompt)
    await until_asked(scene.client, endpoint, prompt)
    asked_at = time.monotonic()
    assert await scene.client.at(a if by == "a" else b).stop(scene.session, stream_id)
    await model_left(scene, scene.client, endpoint, a, prompt, asked_at)
    await scene.watch(b)
    assert (await scene.end()).data["reason"] == "stopped"
    await scene.verdict(b)


async def in_window(
    scene: Scene, asker: Client, endpoint: str, server: Server, window: str
) -> tuple[client.Viewer, str]:
    """An answer that is in this window now, and its prompt. One that is queued has a stream before it."""
    if window == "queued":
        await scene.ask(server, "scripted:?tokens=100000&rate=50")
    prompt = f"scripted:?{WINDOWS[window]}&salt={uuid4().hex}" + ("" if "tokens" in WINDOWS[window] else "&tokens=9")
    answer = asker.ask(scene.session, prompt, if_busy="enqueue")
    await answer.until(lambda viewer: viewer.stream_id)
    scene.streams.append(answer.stream_id)
    if window == "in mid-stream":
        tokens = scene.scenes.chance.randint(1, 20)
        await answer.until(lambda viewer: viewer.text.count("⟨") >= tokens)
    elif window == "before the first token":
        await until_asked(asker, endpoint, prompt)
    return answer, prompt


async def model_left(scene: Scene, asker: Client, endpoint: str, server: Server, prompt: str, asked_at: float) -> None:
    """Its connection was closed in time; or it was never asked, even though its turn comes now."""
    if len(scene.streams) == 1:
        assert await closed_at(asker, endpoint, prompt) - asked_at < NOTICED_SECONDS
        return
    await scene.client.at(server).stop(scene.session)
    await scene.viewers[0].end_of(scene.streams[0])
    assert await records(asker, endpoint, prompt) == [], "the model was never asked"
