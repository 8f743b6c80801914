"""How many rows a second one PostgreSQL takes from event logs: fenced, numbered, in group commits, each on the disk.

`python -m benchmarks.fenced_rows CORE` is one process that writes for 100 streams as fast as it can, to the database
that DATABASE_URL names, and prints its figure.
"""

import asyncio
import importlib
import os
import sys
import time
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from benchmarks import machine
from benchmarks.jarvis import Jarvis
from benchmarks.servers import PROJECT

PROCESSES, STREAMS, SECONDS = 2, 100, 4.0
_DATA = '{"stream_id":"%s","message_id":"%s","text":"three or four tokens of text"}'


async def rows_per_second(database_url: str) -> int:
    """Of processes that share one core, with PostgreSQL on the other."""
    command = [str(Jarvis.python), "-m", "benchmarks.fenced_rows", str(machine.cores()[0])]
    with TemporaryDirectory(prefix="benchmark-rows-") as data_dir:
        settings = {"DATABASE_URL": database_url, "JARVIS_DATA_DIR": data_dir}
        env = {**os.environ, **settings, "DJANGO_SETTINGS_MODULE": "jarvis_site.settings"}
        writers = [
            await asyncio.create_subprocess_exec(*command, cwd=PROJECT, env=env, stdout=asyncio.subprocess.PIPE)
            for _ in range(PROCESSES)
        ]
        printed = [(await writer.communicate())[0] for writer in writers]
    if any(writer.returncode for writer in writers):
        raise RuntimeError("A writer of fenced rows has failed: its error stands above.")
    return sum(int(line) for line in printed)


async def _write() -> int:
    log_module: Any = importlib.import_module("events.event_log")
    entry: Any = importlib.import_module("events.log_transaction").Entry
    log = log_module.EventLog(lambda committed: None)
    sessions = [uuid4() for _ in range(STREAMS)]
    await log.transaction(lambda inside: [inside.open_turn(session, 1) for session in sessions])
    until = time.monotonic() + SECONDS

    async def stream(session: Any) -> int:
        rows, event = 0, entry("chat.token", _DATA % (session, session), session)
        while time.monotonic() < until:
            await log.append(session, [event], 1)
            rows += 1
        return rows

    written = sum(await asyncio.gather(*map(stream, sessions)))
    await log.aclose()
    return written


def main() -> None:
    os.sched_setaffinity(0, {int(sys.argv[1])})
    importlib.import_module("django").setup()
    print(round(asyncio.run(_write()) / SECONDS))


if __name__ == "__main__":
    main()
