"""A blocking call on the loop raises `BlockingError`, and its stack is kept: who raises it may well catch it, too."""

import asyncio
import os
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType

from blockbuster import BlockBuster, blockbuster


class KeptBlockingError(blockbuster.BlockingError):
    def __init__(self, func: str) -> None:
        super().__init__(func)
        with open(os.environ["BLOCKING_CALLS"], "a") as file:  # blockbuster looks away while it raises
            file.write(f"{self}\n{''.join(traceback.format_stack()[:-2])}\n")


def never_waits(listener: socket.socket) -> bool:
    """Twisted makes an adopted descriptor non-blocking; the Python object around it does not know."""
    return not os.get_blocking(listener.fileno())


def tell_tasks(number: int, frame: FrameType | None) -> None:
    """On a thread, which may write files."""
    count = len(asyncio.all_tasks())
    threading.Thread(target=write, args=(Path(os.environ["TASKS"]), str(count))).start()


def write(path: Path, text: str) -> None:
    whole = path.with_suffix(".new")
    whole.write_text(text)
    whole.rename(path)


blockbuster.BlockingError = KeptBlockingError  # type: ignore[misc]
watch = BlockBuster()
watch.functions["socket.socket.accept"].can_block_predicate = never_waits
# A loop that looks after one child keeps nobody waiting; who has none, but forks, crashes at its end (Python 3.11.2).
if {"serve_model", "jarvis_site.processes"}.isdisjoint(sys.orig_argv):
    watch.activate()
signal.signal(signal.SIGUSR1, tell_tasks)
