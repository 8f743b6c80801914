"""One session while something goes wrong: who watches it, what was asked in it, and the verdict over all that."""

import asyncio
import time
from contextlib import AsyncExitStack
from itertools import pairwise
from random import Random
from typing import Any
from urllib.parse import parse_qs

from tests import corpus
from tests.cluster.client import Client, Viewer
from tests.cluster.cluster import Cluster
from tests.faults.checker import violations
from tests.faults.log_balance import log_lines, unaccounted
from tests.faults.recorded import histories, violating
from tests.history import Seen
from tests.live.server import Server

LOGGED_SECONDS = 10.0


class Scenes:
    """All that one test records. `fault` is what it is counted under."""

    def __init__(self, stack: AsyncExitStack, fault: str, seed: int) -> None:
        self.stack, self.fault = stack, fault
        self.chance = Random(seed)
        self._clients: dict[str, Client] = {}

    async def client(self, key: str) -> Client:
        if key not in self._clients:
            self._clients[key] = await self.stack.enter_async_context(Client(key))
        return self._clients[key]

    async def begin(self, cluster: Cluster, server: Server, client: Client | None = None) -> "Scene":
        client = client or await self.client(cluster.key)
        return Scene(self, cluster, client, await client.at(server).new_session())


class Scene:
    def __init__(self, scenes: Scenes, cluster: Cluster, client: Client, session: str) -> None:
        self.scenes, self.cluster, self.client, self.session = scenes, cluster, client, session
        self.viewers: list[Viewer] = []
        self.streams: list[str] = []

    async def watch(
        self, *servers: Server, after: int | None = 0, kind: type[Viewer] = Viewer, **options: Any
    ) -> Viewer:
        """Until the end of the test; on the first server, and on the next one when that fails."""
        viewer = kind(self.client, self.session, servers, after, **options)
        self.viewers.append(await self.scenes.stack.enter_async_context(viewer))
        return viewer

    async def ask(self, server: Server, prompt: str, **options: Any) -> str:
        """The id of the stream."""
        self.streams.append(await self.client.at(server).stream_id(self.session, prompt, **options))
        return self.streams[-1]

    async def leave(self) -> None:
        """All viewers close their connections."""
        for viewer in self.viewers:
            await viewer.__aexit__()

    async def end(self, timeout_seconds: float = 20.0) -> Seen:
        """The terminal event of the last stream, as the last of all viewers was given it."""
        ends = [await viewer.end_of(self.streams[-1], timeout_seconds) for viewer in self.viewers]
        return max(ends, key=lambda end: end.at)

    async def verdict(self, server: Server, timeout_seconds: float = 20.0) -> None:
        """Fails unless every viewer was given all, once, in order, and what is stored is what they were given.

        Nothing may run in the session any more. What is stored is read again when the viewers have it all: what they
        were shown must be there then, too. And the logs must tell of each stream's beginning and of its end.
        """
        stored = await self._stored(server)
        for viewer in self.viewers:
            await viewer.until(lambda viewer: (viewer.cursor or 0) >= stored["last_seq"], timeout_seconds)
        stored = await self._stored(server)
        found = [*violations(self.viewers, stored, caught_up=True), *_damaged(stored["messages"])]
        found += await self._unaccounted()
        histories[self.scenes.fault] += 1
        violating[self.scenes.fault] += bool(found)
        assert not found, "\n".join(found)

    async def _unaccounted(self) -> list[str]:
        """What remains when the threads that write the logs have had their time."""
        folders = [server.data_dir for server in self.cluster.servers.values()]
        deadline = time.monotonic() + LOGGED_SECONDS
        while True:
            lines = await asyncio.to_thread(log_lines, folders)
            found = unaccounted(lines, self.session, len(self.streams))
            if not found or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.05)

    async def _stored(self, server: Server) -> Any:
        """With all its messages: the answer to one request has the newest, up to 256 KiB."""
        stored = await self.client.at(server).session(self.session)
        path = f"/api/sessions/{self.session}/"
        while first := stored["messages"][:1]:
            older = (await self.client.at(server).send("GET", f"{path}?before={first[0]['id']}")).data["messages"]
            if not older:
                break
            stored["messages"] = older + stored["messages"]
        return stored


def _damaged(messages: list[dict[str, Any]]) -> list[str]:
    """What the texts say themselves: the scripted model numbers its tokens."""
    found = []
    for prompt, answer in pairwise(messages):
        script = parse_qs(prompt["text"].partition("scripted:?")[2])
        if prompt["role"] != "user" or answer["role"] != "assistant" or not script or "fault" in script:
            continue
        text, tokens, salt = answer["text"], int(script["tokens"][0]), script.get("salt", [""])[0]
        whole = answer["state"] == "completed"
        if script.get("corpus") != ["hostile"]:
            found += corpus.problems(text, tokens if whole else None, salt)
        elif text != corpus.hostile_text(tokens, salt)[: None if whole else len(text)]:
            found.append(f"hostile text is damaged: {text[:200]!r}")
    return found
