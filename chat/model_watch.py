"""Keeps the embedded model running: started, announced in `model.json`, started again when it dies."""

import asyncio
import json
import sys
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from chat.model_choice import Model
from chat.model_details import ModelDetails, remove_details, write_details
from chat.model_process import ModelProcess, model_log

FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0
STEADY_SECONDS = 30.0  # a model that lived so long has not failed to start
LAST_ANSWERS_SECONDS = 1.5  # the web process, told to end at the same moment, ends its streams in this time
LAST_BYTES_SECONDS = 0.2  # from the last token to the end of its response


log = structlog.get_logger(__name__)


class ModelWatch:
    """Runs one model until told to stop; never gives up, never raises because of the model."""

    def __init__(self, model: Model, data_dir: Path) -> None:
        self._model = model
        self._data_dir = data_dir
        self._log = model_log(data_dir / "logs")

    async def run(self, stop: asyncio.Event) -> None:
        """Returns once `stop` is set and the model's process is gone."""
        backoff = FIRST_BACKOFF_SECONDS
        stopped = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                started = time.monotonic()
                process = ModelProcess(self._model, self._log)
                exit_code = await self._run_once(process, stopped)
                if stopped.done():
                    break
                if time.monotonic() - started > STEADY_SECONDS:
                    backoff = FIRST_BACKOFF_SECONDS
                self._tell_death(process, exit_code, backoff)
                await asyncio.wait([stopped], timeout=backoff)
                backoff = min(2 * backoff, MAX_BACKOFF_SECONDS)
        finally:
            stopped.cancel()
            remove_details(self._data_dir)

    async def _run_once(self, process: ModelProcess, stopped: asyncio.Task[bool]) -> int:
        """One life of the model, cut short when `stopped`; its exit code."""
        life = asyncio.create_task(self._live(process))
        try:
            await asyncio.wait([life, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not life.done():
                await self._let_answers_end(process)
                return 0
            return life.result()
        finally:
            life.cancel()
            await process.stop()

    async def _live(self, process: ModelProcess) -> int:
        """From the start to the end of one process; returns its exit code."""
        try:
            await process.start()
        except OSError as error:
            process.error = str(error)
            return 1
        self._write(ModelDetails(self._model.name, "loading", key=process.key, pid=process.pid))
        started = time.monotonic()
        if await process.ready():
            self._write(ModelDetails(self._model.name, "ready", process.url, process.key, process.pid))
            log.info("model_ready", model=self._model.name, seconds=round(time.monotonic() - started, 2))
            with suppress(OSError):  # nobody reads the console
                sys.stdout.write(f"The model is ready: {self._model.name}\n")
                sys.stdout.flush()
        return await process.ended()

    def _tell_death(self, process: ModelProcess, exit_code: int, backoff: float) -> None:
        what = process.error or f"its process ended with exit code {exit_code}"
        message = f"The model is down ({what}) and is being started again; logs/model.log may tell why."
        self._write(ModelDetails(self._model.name, "down", message=message))
        log.error("model_down", exit_code=exit_code, error=process.error, next_start_seconds=backoff)

    async def _let_answers_end(self, process: ModelProcess) -> None:
        answered = False
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_ANSWERS_SECONDS):
                while await asyncio.to_thread(is_answering, process.url, process.key):
                    answered = True
                    await asyncio.sleep(0.05)
        if answered:
            await asyncio.sleep(LAST_BYTES_SECONDS)

    def _write(self, details: ModelDetails) -> None:
        try:
            write_details(self._data_dir, details)
        except OSError as error:  # the disk is full: it may not be for ever
            log.error("model_json_unwritable", error=str(error))


def is_answering(url: str, key: str) -> bool:
    """Whether llama.cpp works on any answer now; False if it cannot be asked."""
    if not url:
        return False
    connection = HTTPConnection(urlsplit(url).netloc, timeout=0.5)
    try:
        connection.request("GET", "/slots", headers={"Authorization": f"Bearer {key}"})
        return any(slot["is_processing"] for slot in json.load(connection.getresponse()))
    except (OSError, HTTPException, ValueError, TypeError, KeyError):
        return False
    finally:
        connection.close()
