"""The process that runs llama.cpp: one start of it, from the order to the end."""

import asyncio
import json
import logging
import os
import secrets
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from chat.model_choice import Model

PROJECT_DIR = Path(__file__).resolve().parent.parent
LOG_MAX_BYTES = 1_000_000  # and one older file beside it


class ModelProcess:
    """One run of `chat.model_server`. Everything llama.cpp says goes to `log`."""

    def __init__(self, model: Model, log: logging.Logger) -> None:
        self.key = secrets.token_urlsafe(24)
        self.url = ""
        self.error = ""
        self._model = model
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._logging: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        order = {
            "path": str(self._model.path),
            "name": self._model.name,
            "sampling": self._model.sampling,
            "key": self.key,
            "parent_pid": os.getpid(),
        }
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chat.model_server"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=PROJECT_DIR,
            limit=1 << 20,
            start_new_session=True,  # a signal to our process group is ours to handle, not llama.cpp's
        )
        assert process.stdin is not None
        assert process.stderr is not None
        self._logging = asyncio.create_task(self._copy_to_log(process.stderr))
        process.stdin.write(json.dumps(order).encode() + b"\n")

    async def ready(self) -> bool:
        """Waits until the model answers at `url`; False: it has ended instead, `error` says why if it could."""
        stdout = self._process.stdout if self._process else None
        line = await stdout.readline() if stdout else b""
        news = json.loads(line) if line else {}
        self.url = f"{news['url']}/v1" if "url" in news else ""
        self.error = news.get("error", "")
        return bool(self.url)

    async def ended(self) -> int:
        """Waits for the end of the process; its exit code, negative if a signal ended it."""
        assert self._process is not None
        code = await self._process.wait()
        if self._logging is not None:
            await self._logging
        return code

    async def stop(self) -> None:
        """When this returns the process is gone; at once, since it has nothing to save."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.kill()
        await self.ended()

    async def _copy_to_log(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            self._log.info(line.decode(errors="replace").rstrip())


def model_log(directory: Path) -> logging.Logger:
    """A bounded file of its own for llama.cpp's many words; nothing of it reaches the console."""
    directory.mkdir(parents=True, exist_ok=True)
    log = logging.Logger("llama.cpp", logging.INFO)
    log.addHandler(RotatingFileHandler(directory / "model.log", maxBytes=LOG_MAX_BYTES, backupCount=1, delay=True))
    return log
