"""The servers that are compared: how each is started, alone on its core, and how a stream is asked of it."""

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Self

from benchmarks import machine
from benchmarks.http import request
from benchmarks.schedule import Schedule

BENCHMARKS = Path(__file__).parent.absolute()
PROJECT = BENCHMARKS.parent
PEERS = BENCHMARKS / "peers"
PYTHON = PROJECT / ".venv-bench/bin/python"
START_SECONDS = 90.0  # litellm takes half of it


_WEBSOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


class Server:
    """A server process, pinned to the server's core while it is entered. `extra_env`: for this run."""

    name = ""
    title = ""
    streams_end = True  # its responses end with their last token
    starts_per_second = 500.0  # how fast streams may be asked for, so that all run when the first token is due
    burst = 0  # so few may be asked for as fast as of anybody: then those that wait are through in time as well

    def __init__(self, **extra_env: str) -> None:
        self.extra_env = extra_env
        self.core = machine.cores()[0]
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.folder = Path()
        self._numbers = count(1)

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def starts_per_second_of(self, streams: int) -> float:
        return Server.starts_per_second if streams <= self.burst else self.starts_per_second

    async def channels(self, number: int) -> list[str]:
        """Names for that many streams; what they need (sessions, say) is made now, unmeasured."""
        return [f"c{next(self._numbers)}" for _ in range(number)]

    def stream_request(self, channel: str, schedule: Schedule) -> bytes:
        """Starts a stream and is answered by it."""
        return request("GET", f"/stream?channel={channel}&{schedule.query()}")

    def watch_request(self, channel: str) -> bytes:
        """Answered by what happens in the channel, without an end."""
        return request("GET", f"/watch?channel={channel}")

    def start_request(self, channel: str, schedule: Schedule) -> bytes:
        """Starts a stream for those who watch the channel; answered at once."""
        return request("GET", f"/start?channel={channel}&{schedule.query()}")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def __aenter__(self) -> Self:
        self.port = machine.free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"benchmark-{self.name}-"))
        try:
            await self.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                await asyncio.to_thread(self.process.wait, 15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    async def start(self) -> None:
        """Returns when the server accepts connections. Raises RuntimeError with its output if it does not."""
        self._spawn()
        await self._accepts()

    def _spawn(self) -> None:
        core = self.core
        with open(self.folder / "output", "wb") as output:
            self.process = subprocess.Popen(
                self.command(),
                cwd=PROJECT,
                env={**os.environ, **self.environment(), **self.extra_env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: _alone(core),
            )

    async def _accepts(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start:\n{self.output()[-3000:]}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return

    def output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")


def _alone(core: int) -> None:
    os.sched_setaffinity(0, {core})
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the harness's, which ends its servers in order


class UvicornPeer(Server):
    module = ""

    def command(self) -> list[str]:
        return [str(PYTHON), str(PEERS / "uvicorn_server.py"), f"{self.module}:app", str(self.port)]


class FastAPI(UvicornPeer):
    name, title, module = "fastapi", "FastAPI StreamingResponse (uvicorn)", "fastapi_stream"


class SSEStarlette(UvicornPeer):
    name, title, module = "sse-starlette", "sse-starlette (uvicorn)", "sse_starlette_stream"


class DjangoEventstream(UvicornPeer):
    name, title, module = "django-eventstream", "django-eventstream (uvicorn)", "django_eventstream_server"
    streams_end = False


class PythonPeer(Server):
    script = ""

    def command(self) -> list[str]:
        return [str(PYTHON), str(PEERS / self.script), str(self.port)]


class PlainChannels(PythonPeer):
    name, title, script = "channels", "Channels as documented (Daphne)", "channels_server.py"
    streams_end = False

    def stream_request(self, channel: str, schedule: Schedule) -> bytes:
        return request("GET", f"/stream?channel={channel}&{schedule.query()}", _WEBSOCKET)


class BareLoop(PythonPeer):
    name, title, script = "bare", "bare socket loop (uvloop)", "bare_server.py"


class Endpoint(PythonPeer):
    """The model's stand-in of case l; on the client's core."""

    name, title, script = "endpoint", "OpenAI-compatible endpoint", "openai_endpoint.py"

    def __init__(self, **extra_env: str) -> None:
        super().__init__(**extra_env)
        self.core = machine.cores()[1]


class ResumableStream(Server):
    """Needs REDIS_URL in its environment, and `npm ci` done in `benchmarks/peers`."""

    name, title = "resumable-stream", "resumable-stream (Node)"

    def command(self) -> list[str]:
        return ["node", str(PEERS / "resumable_stream.mjs"), str(self.port)]


class FastAPIOpenAI(UvicornPeer):
    """OPENAI_BASE_URL and OPENAI_API_KEY in its environment."""

    name, title, module = "fastapi-openai", "FastAPI with the openai client (uvicorn)", "fastapi_openai"

    def stream_request(self, channel: str, schedule: Schedule) -> bytes:
        return completion_request(schedule)


class LiteLLM(Server):
    """As FastAPIOpenAI; from an environment of its own."""

    name, title = "litellm", "litellm proxy"
    starts_per_second = 40.0
    key = f"sk-{secrets.token_hex(32)}"  # it does not start without one

    def command(self) -> list[str]:
        program = PROJECT / ".venv-bench/litellm/bin/litellm"
        return [str(program), "--config", str(PEERS / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(self.port)]

    def environment(self) -> dict[str, str]:
        return {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MASTER_KEY": self.key}

    def stream_request(self, channel: str, schedule: Schedule) -> bytes:
        return completion_request(schedule, {"Authorization": f"Bearer {self.key}"})


def completion_request(schedule: Schedule, headers: dict[str, str] | None = None) -> bytes:
    messages = [{"role": "user", "content": schedule.query()}]
    body = {"model": "bench", "messages": messages, "stream": True}
    return request("POST", "/v1/chat/completions", headers, body)
