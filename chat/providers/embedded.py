"""The embedded model: llama.cpp in a process of its own, started by `python manage.py serve_model`.

Where it is stands in `model.json` in the data directory, which that command replaces whenever something changes. It is
read again for each prompt. A prompt waits while the model loads, and for the moment in which it is started again.
"""

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path

import msgspec

from chat.providers.base import NO_REST, Finish, Loading, ModelRequest, ProviderError, Rest
from chat.providers.openai_compatible import Endpoint, OpenAICompatibleProvider
from chat.stream_state import EndReason

NOT_RUNNING = (
    "The embedded model is not running: start it with `.venv/bin/python manage.py serve_model`, "
    "or set CHAT_PROVIDER_URL."
)
# How long a prompt waits in each state, in seconds. Web and model start together, so the file may come a little later.
PATIENCE_SECONDS = {"loading": 120.0, "missing": 10.0, "down": 5.0, "unreachable": 3.0}
MAX_WAIT_SECONDS = 120.0
FIRST_POLL_SECONDS = 0.05
MAX_POLL_SECONDS = 0.5


class ModelFile(msgspec.Struct):
    """What `model.json` says."""

    url: str = ""
    key: str = ""
    model: str = ""
    state: str = "missing"  # no file; then "loading", "ready", "down"
    message: str = ""  # what is wrong, for people


def read_model_file(path: Path) -> ModelFile:
    try:
        return msgspec.json.decode(path.read_bytes(), type=ModelFile)
    except (OSError, msgspec.MsgspecError):
        return ModelFile()


class EmbeddedProvider:
    name = "embedded"

    def __init__(self, model_file: Path, *, connect_seconds: float, idle_seconds: float) -> None:
        self._path = model_file
        self._client = OpenAICompatibleProvider(
            Endpoint(""), connect_seconds=connect_seconds, idle_seconds=idle_seconds
        )
        self._file_thread = ThreadPoolExecutor(1, thread_name_prefix="model-file")  # the default one may be full

    async def models(self) -> list[str]:
        """The model's name, also while it loads."""
        model = await self._look()
        if model.state == "loading":
            return [model.model]
        if model.state != "ready":
            raise _not_running(model)
        try:
            return await self._client.models()
        except ProviderError as error:
            raise _not_running(model) from error

    async def stream(
        self, request: ModelRequest, rest: Rest = NO_REST
    ) -> AsyncGenerator[list[str] | Finish | Loading, None]:
        now = asyncio.get_running_loop().time
        started = state_since = now()
        state = ""
        poll_seconds = FIRST_POLL_SECONDS
        while True:
            model = await self._look()
            seen = model.state
            if seen == "ready":
                try:
                    async with aclosing(self._client.stream(request, rest)) as answer:
                        async for item in answer:
                            yield item
                    return
                except ProviderError as error:
                    if error.code is not EndReason.PROVIDER_UNAVAILABLE:  # which is only raised before any token
                        raise
                    seen = "unreachable"
            if seen != state:
                if not state:
                    yield Loading()
                state, state_since = seen, now()
            if now() - state_since > PATIENCE_SECONDS.get(state, 0) or now() - started > MAX_WAIT_SECONDS:
                raise _not_running(model)
            await asyncio.sleep(poll_seconds)
            poll_seconds = min(2 * poll_seconds, MAX_POLL_SECONDS)

    async def aclose(self) -> None:
        self._file_thread.shutdown(wait=False, cancel_futures=True)
        await self._client.aclose()

    async def _look(self) -> ModelFile:
        """Read the file, and point the client to what it says."""
        model = await asyncio.get_running_loop().run_in_executor(self._file_thread, read_model_file, self._path)
        self._client.endpoint = Endpoint(model.url, model.key, model.model)
        return model


def _not_running(model: ModelFile) -> ProviderError:
    return ProviderError(EndReason.PROVIDER_UNAVAILABLE, model.message or NOT_RUNNING, retryable=True)
