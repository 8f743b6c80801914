"""Jarvis as it ships: `manage.py serve`, a durable log on SQLite, an API key; and the same application on uvicorn."""

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.http import fetch, request
from benchmarks.schedule import Schedule
from benchmarks.servers import PEERS, PROJECT, PYTHON, Server, completion_request

_SESSIONS_AT_ONCE = 8


class Jarvis(Server):
    """`shares`: another one whose data directory (and key) this process uses as well."""

    name, title = "jarvis", "Jarvis (Daphne)"
    starts_per_second = 200.0
    burst = 100
    python = PROJECT / ".venv/bin/python"

    def __init__(self, *, shares: "Jarvis | None" = None, provider: str = "scripted:", **extra_env: str) -> None:
        super().__init__(**extra_env)
        self.shares = shares
        self.provider = provider
        self.key = ""

    @property
    def data_dir(self) -> Path:
        return self.folder / "data" if self.shares is None else self.shares.data_dir

    def command(self) -> list[str]:
        return [str(self.python), "manage.py", "serve"]

    def environment(self) -> dict[str, str]:
        return {
            "REDIS_URL": "",  # whatever the developer's environment or .env says
            "DATABASE_URL": "",
            "LOG_LEVEL": "INFO",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "JARVIS_DATA_DIR": str(self.data_dir),
            "CHAT_PROVIDER_URL": self.provider,
            "CHAT_MAX_TOKENS": "100000",
            "CHAT_MAX_STREAMS": "20000",
            "EVENTS_MAX_VIEWERS": "20000",
            "MAX_CONNECTIONS": "50000",
        }

    async def start(self) -> None:
        if self.shares is None:
            await self.manage("migrate", "--noinput", "--verbosity=0")
            self.key = (await self.manage("create_api_key", "benchmark", "--create-user")).strip()
        else:
            self.key = self.shares.key
        await super().start()

    async def manage(self, *arguments: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            [str(self.python), "manage.py", *arguments],
            cwd=PROJECT,
            env={**os.environ, **self.environment(), **self.extra_env},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"manage.py {arguments[0]}: {done.stderr[-2000:]}")
        return done.stdout

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """JSON in, JSON out. Raises RuntimeError for what is refused."""
        status, answer = await fetch(self.port, request(method, path, self.headers(), body))
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {answer}")
        return answer

    async def sessions(self, count: int) -> list[str]:
        limit = asyncio.Semaphore(_SESSIONS_AT_ONCE)

        async def session() -> str:
            async with limit:
                return str((await self.call("POST", "/api/sessions/", {}))["id"])

        return list(await asyncio.gather(*(session() for _ in range(count))))

    async def channels(self, number: int) -> list[str]:
        return await self.sessions(number)

    def stream_request(self, channel: str, schedule: Schedule) -> bytes:
        return self.prompt_request(channel, schedule, streamed=True)

    def watch_request(self, channel: str) -> bytes:
        return self.events_request(channel, after=0)

    def start_request(self, channel: str, schedule: Schedule) -> bytes:
        return self.prompt_request(channel, schedule, streamed=False)

    def prompt_request(self, session: str, schedule: Schedule, *, streamed: bool) -> bytes:
        headers = {**self.headers(), "Accept": "text/event-stream" if streamed else "application/json"}
        return request("POST", f"/api/sessions/{session}/streams/", headers, {"prompt": self.prompt(schedule)})

    def events_request(self, session: str, after: int) -> bytes:
        headers = {**self.headers(), "Accept": "text/event-stream"}
        return request("GET", f"/api/sessions/{session}/events/?after={after}", headers)

    def prompt(self, schedule: Schedule) -> str:
        query = schedule.query()
        return f"scripted:?{query}" if self.provider.startswith("scripted") else query

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


class JarvisUvicorn(Jarvis):
    name, title = "jarvis-uvicorn", "Jarvis (uvicorn)"
    python = PYTHON

    def command(self) -> list[str]:
        return [str(PYTHON), str(PEERS / "uvicorn_server.py"), "jarvis_site.asgi:application", str(self.port)]


class JarvisCompletions(Jarvis):
    """Its `/v1/chat/completions`."""

    name, title = "jarvis-v1", "Jarvis /v1 (Daphne)"

    async def exists(self) -> bool:
        status, _ = await fetch(self.port, request("GET", "/v1/models", self.headers()))
        return status == 200

    def stream_request(self, channel: str, schedule: Schedule) -> bytes:
        return completion_request(schedule, self.headers())

    async def channels(self, number: int) -> list[str]:
        return [""] * number
