"""Viewers that flap, come late, are told too much at once, or do not read."""

import asyncio
from itertools import pairwise
from uuid import uuid4

from events import bus
from events.core.event import Event
from events.log_writing import Committed
from events.viewer import Lost, Viewer
from tests.cluster.cluster import Cluster
from tests.faults.conftest import logged_since, up
from tests.faults.held import at_rest, given_back
from tests.faults.readers import Flapping, Stalling
from tests.faults.scene import Scenes
from tests.live.log_lines import parse

CAPACITY, BEHIND = 100, 1000  # events: of a narrow channel, and how far its viewers fall behind
HELD_BYTES = 1 << 20  # at most, for a viewer that does not read


async def test_f01_viewer_flap(small: Cluster, scenes: Scenes) -> None:
    """A viewer's connection is reset after every k-th event, and it resumes, here and there."""
    a, b = await up(small, "a", "b")
    scene = await scenes.begin(small, a)
    every = scenes.chance.randint(1, 5)
    flapping = [await scene.watch(a, kind=Flapping, every=every), await scene.watch(a, b, kind=Flapping, every=every)]
    await scene.watch(a)
    kind = scenes.chance.choice(["plain", "hostile"])
    await scene.ask(a, f"scripted:?tokens=40&rate=60&corpus={kind}")
    await scene.end()
    assert all(len(viewer.statuses) > 2 for viewer in flapping)
    await scene.verdict(b)


async def test_f02_late_joiners(small: Cluster, scenes: Scenes) -> None:
    """They come at any seq, with its cursor or from a snapshot, after the end too."""
    a, b = await up(small, "a", "b")
    scene = await scenes.begin(small, a)
    first = await scene.watch(a)
    stream = await scene.ask(a, "scripted:?tokens=60&rate=100")
    for at in (1, 2, 4, scenes.chance.randint(5, 9)):
        await first.until(lambda viewer: len(viewer.events) >= at)  # noqa: B023
        cursors = [0, None, first.cursor, scenes.chance.randint(0, at)]
        for after in cursors:
            await scene.watch(scenes.chance.choice([a, b]), after=after)
    last = (await first.end_of(stream)).seq
    assert last is not None
    for after in (0, 1, last - 1, last, None):
        await scene.watch(scenes.chance.choice([a, b]), after=after)
    await scene.verdict(b)


async def test_f02_late_joiners_between_commit_and_publish(transactional_db: None, seed: int) -> None:
    """Whoever joins when an event is stored, and nobody was told of it yet, is given it once."""
    events = bus.current()
    held: list[Committed] = []
    events.log._writer._announce = held.append
    session_id = uuid4()
    given: list[Event] = []
    await events.publish(session_id, "chat.session", {"n": 1})
    viewer = events.viewer(session_id, 0)
    await viewer.join()
    try:
        given += await next_of(viewer)
        events.hub.announce([each for committed in held for each in committed])
        events.log._writer._announce = events.hub.announce
        await events.publish(session_id, "chat.session", {"n": 2})
        given += await next_of(viewer)
        assert [event.seq for event in given] == [1, 2]
    finally:
        viewer.leave()
        await bus.close_current()


async def next_of(viewer: Viewer) -> list[Event]:
    async with asyncio.timeout(5):
        delivered = await viewer.next()
    assert not isinstance(delivered, Lost)
    return [event for event, _ in delivered]


async def test_f09_layer_overflow(grown: Cluster, scenes: Scenes) -> None:
    """A process sleeps while far more is told than its channel holds; its viewers miss nothing, and leave nothing."""
    [hasty] = await up(grown, "hasty", EVENTS_FLUSH_BYTES="1")  # as many events as the commits allow
    [narrow] = await up(grown, "narrow", EVENTS_CHANNEL_CAPACITY=str(CAPACITY))
    at_rest_before = {server: await at_rest(scenes, grown, server) for server in (hasty, narrow)}
    all_scenes = [await scenes.begin(grown, hasty) for _ in range(2)]
    for scene in all_scenes:
        await scene.watch(narrow)
        await scene.watch(hasty)
        await scene.ask(hasty, "scripted:?tokens=100000&rate=200")
    there, here = all_scenes[0].viewers
    await here.tokens_of(all_scenes[0].streams[0], scenes.chance.randint(1, 4))
    before = len(await grown.log_lines("narrow", "layer_overflow"))
    grown.freeze("narrow")
    try:
        await here.until(lambda viewer: (viewer.cursor or 0) - (there.cursor or 0) > BEHIND, 90)
    finally:
        grown.thaw("narrow")
    for scene in all_scenes:
        assert await scene.client.at(hasty).stop(scene.session)
        await scene.end()
        await scene.verdict(hasty)
        await scene.leave()
    assert len(await grown.log_lines("narrow", "layer_overflow")) > before
    for server, held in at_rest_before.items():
        await given_back(server, held)


async def test_f12_slow_reader(small: Cluster, scenes: Scenes) -> None:
    """One does not read, nine do: it is cut off, costs little, disturbs nobody, and catches up."""
    [a] = await up(small, "a")
    at_rest_before = await at_rest(scenes, small, a)
    cuts = len(await small.log_lines("a", "connection_cut"))
    scene = await scenes.begin(small, a)
    slow = await scene.watch(a, kind=Stalling)
    assert isinstance(slow, Stalling)
    others = [await scene.watch(a) for _ in range(9)]
    before_bytes = await asyncio.to_thread(a.memory_bytes)
    # Some 2 MB: more than one response may have, and that is more than the kernel takes for who does not read.
    stream = await scene.ask(a, "scripted:?tokens=400&rate=60&corpus=hostile")
    await slow.stalled.wait()
    for viewer in others:
        await viewer.end_of(stream)
    assert await asyncio.to_thread(a.memory_bytes) - before_bytes < 32 << 20
    gaps = [after.at - before.at for viewer in others for before, after in pairwise(viewer.events)]
    assert max(gaps) < 2
    [cut] = await logged_since(small, "a", "connection_cut", cuts)
    assert 0 < int(parse(cut)[3]["unsent_bytes"]) <= HELD_BYTES, "of what waits for it here; the kernel has its own"
    slow.reads_on.set()
    await scene.end()
    assert len(slow.statuses) > 1
    await scene.verdict(a)
    await scene.leave()
    await given_back(a, at_rest_before)
