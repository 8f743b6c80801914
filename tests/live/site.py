"""The whole product as it runs for people, with a scripted endpoint as its model, each a process of its own."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.blocking import ask_for_tasks
from tests.client import Client
from tests.live.log_lines import parse
from tests.live.server import PRODUCT, PROJECT, Runner, Server, running_server, wait_until

FOREVER = "scripted:?tokens=1000000&rate=50"
SILENT = "scripted:?first_delay=600"
SHORT = "scripted:?tokens=5"


class Line(NamedTuple):
    """One line of the log."""

    event: str
    fields: Mapping[str, str]


class Open(NamedTuple):
    """What the server process holds."""

    sockets: int
    databases: int
    threads: int
    tasks: int

    def exceeds(self, other: "Open") -> bool:
        return any(mine > its for mine, its in zip(self, other, strict=True))


class Site:
    """`server` asks the endpoint at `endpoint_url`, whose answers the prompts choose."""

    def __init__(self, server: Server, endpoint_url: str) -> None:
        self.server = server
        self.endpoint_url = endpoint_url

    @asynccontextmanager
    async def client(self, key: str = "") -> AsyncIterator[Client]:
        async with Client(self.server.url, key) as client:
            yield client

    async def asked(self, client: Client, prompt: str) -> list[dict[str, Any]]:
        """What the endpoint has recorded of the requests whose prompt holds this text."""
        async with client.http.get(self.endpoint_url.removesuffix("/v1") + "/_record") as response:
            records = (await response.json())["records"]
        return [record for record in records if prompt in record["prompt"]]

    async def until_asked(self, client: Client, prompt: str) -> None:
        async with asyncio.timeout(10):
            while not await self.asked(client, prompt):
                pass

    async def until_closed(self, client: Client, prompt: str) -> float:
        """When the model's connection was closed, in monotonic seconds, by the endpoint's own account."""
        async with asyncio.timeout(10):
            while not all(record["closed_at"] for record in await self.asked(client, prompt)):
                pass
            return max(float(record["closed_at"]) for record in await self.asked(client, prompt))

    async def lines(self, *events: str) -> list[Line]:
        """The log's lines of these events (of all, if none is named), as far as they are written."""
        text = await asyncio.to_thread(self.server.log_text)
        parsed = (parse(line) for line in text.splitlines())
        return [Line(event, pairs) for _, _, event, pairs in parsed if not events or event in events]

    def unaccounted(self) -> dict[str, int]:
        """Traces whose `stream_start` has no `stream_end … cleanup_done=True` (1), or more than one (-1, …). Blocks."""
        balance: Counter[str] = Counter()
        for _, _, event, pairs in map(parse, self.server.log_text().splitlines()):
            if event == "stream_start":
                balance[pairs["trace"]] += 1
            elif event == "stream_end" and pairs["cleanup_done"] == "True":
                balance[pairs["trace"]] -= 1
        return {trace: count for trace, count in balance.items() if count}

    async def until_lines(self, condition: Callable[[list[Line]], object], *events: str) -> list[Line]:
        """Those lines, as soon as they fulfil the condition: a thread writes them a little later."""
        async with asyncio.timeout(20):
            while not condition(lines := await self.lines(*events)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            return lines

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """A connection of another process, as far as the server can tell. It blocks; what it did is committed."""
        connection = sqlite3.connect(self.server.data_dir / "jarvis.sqlite3", isolation_level=None, timeout=10)
        try:
            yield connection
        finally:
            connection.close()

    async def open_now(self) -> Open:
        return await asyncio.to_thread(self._open_now)

    async def open_at_rest(self) -> Open:
        """What is open when two looks in a row see the same: what was let go is closed a little later."""
        before, now = await self.open_now(), await self.open_now()
        async with asyncio.timeout(10):
            while before != now:
                before, now = now, await self.open_now()
        return now

    async def until_open_is_no_more_than(self, baseline: Open) -> None:
        deadline = time.monotonic() + 10
        while (now := await self.open_now()).exceeds(baseline):
            assert time.monotonic() < deadline, f"{now}, before: {baseline}"

    def _open_now(self) -> Open:
        process = Path(f"/proc/{self.server.pid}")
        names = []
        for path in (process / "fd").iterdir():
            with suppress(FileNotFoundError):  # closed between the two looks
                names.append(os.readlink(path))
        sockets = sum(name.startswith("socket:") for name in names)
        databases = sum(name.endswith(".sqlite3") for name in names)
        told = ask_for_tasks(self.server.pid, self.server.data_dir)
        wait_until(told.exists)
        threads = len(list((process / "task").iterdir()))
        return Open(sockets, databases, threads, int(told.read_text()))


@contextmanager
def running_endpoint() -> Iterator[str]:
    """Its address, for CHAT_PROVIDER_URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.scripted_endpoint"], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def running_site(
    *, runner: Runner = "serve", application: str = PRODUCT, data_dir: Path | None = None, **settings: str
) -> Iterator[Site]:
    """`settings` are environment variables of the server. All log lines are written, whatever the level."""
    with running_endpoint() as endpoint_url:
        env = {"CHAT_PROVIDER_URL": endpoint_url, "LOG_LEVEL": "DEBUG", "LOG_MAX_BYTES": "1000000000", **settings}
        with running_server(runner=runner, application=application, data_dir=data_dir, env=env) as server:
            yield Site(server, endpoint_url)
