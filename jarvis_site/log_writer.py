"""The threads that write log lines, and the queues before them: nobody who logs ever waits."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from queue import SimpleQueue
from typing import Protocol

from jarvis_site.log_file import ShortWrite
from jarvis_site.log_format import Line, LineFormatter

QUEUE_LINES = 10_000  # waiting for a slow disk or console; beyond that lines are dropped, and counted
# Lines are written together: to wake a thread for each of a stream's eight costs the loop more than to write them (#4).
_TOGETHER_SECONDS, _TOGETHER_LINES, _TOGETHER_BYTES = 0.02, 500, 16_384
STOP_SECONDS = 3.0  # what a blocked console may delay the end of the process

Logged = Line | logging.LogRecord | bytes  # our own loggers', other people's, and what is rendered already


class Output(Protocol):
    def write(self, lines: bytes) -> None:
        """Whole lines. Raises OSError if they are not written."""
        ...


class LineQueue(logging.Handler):
    """`dropped` counts what found it full, or could not be rendered or written."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: SimpleQueue[Logged | None] = SimpleQueue()
        self.dropped = 0

    def createLock(self) -> None:
        self.lock = None  # the queue has its own, and the event loop must not wait for a thread that holds this one

    def emit(self, record: logging.LogRecord) -> None:
        self.put(record)

    def put(self, line: Logged) -> None:
        if self.queue.qsize() < QUEUE_LINES:
            self.queue.put(line)
        else:
            self.dropped += 1


class Writer:
    """The thread behind a queue: renders lines, writes them, and hands them on to the queue behind."""

    def __init__(self, source: LineQueue, formatter: LineFormatter, output: Output, then: LineQueue | None = None):
        self._source, self._formatter, self._output, self._then = source, formatter, output, then
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Writes what waits. An output that is stuck is left behind."""
        self._stopping.set()
        self._source.queue.put(None)
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        queue = self._source.queue
        ends = False
        while not ends:
            first = queue.get()
            if first is not None and queue.empty():
                self._stopping.wait(_TOGETHER_SECONDS)
            waiting = [first, *(queue.get() for _ in range(min(queue.qsize(), _TOGETHER_LINES)))]
            ends = None in waiting
            lost = self._write([line for line in waiting if line is not None])
            self._source.dropped += lost
            del first, waiting  # a line may hold a traceback, and all that its frames hold
            if queue.empty() and self._source.dropped:
                self._tell_of_dropped()

    def _tell_of_dropped(self) -> None:
        dropped, self._source.dropped = self._source.dropped, 0
        if self._write([Line(time.time(), "warning", {"event": "log_lines_dropped", "count": dropped})]):
            self._source.dropped += dropped  # it is told later

    def _write(self, lines: Sequence[Logged]) -> int:
        """How many of them are lost."""
        together: list[bytes] = []
        size_bytes = lost = 0
        for line in map(self._rendered, lines):
            if together and size_bytes + len(line) > _TOGETHER_BYTES:
                lost += self._put_out(together)
                together, size_bytes = [], 0
            if line:
                together.append(line)
                size_bytes += len(line)
        return lost + (self._put_out(together) if together else 0)

    def _put_out(self, lines: Sequence[bytes]) -> int:
        if self._then is not None:
            for line in lines:
                self._then.put(line)
        try:
            self._output.write(b"".join(lines))
            return 0
        except Exception as error:  # nothing that goes wrong with a log line may stop what it tells of
            written_bytes = error.written_bytes if isinstance(error, ShortWrite) else 0
            return sum(end > written_bytes for end in accumulate(map(len, lines)))

    def _rendered(self, line: Logged) -> bytes:
        if isinstance(line, bytes):
            return line
        try:
            return f"{self._formatter.format(line)}\n".encode("utf-8", "backslashreplace")
        except Exception:  # a value that cannot be printed must not end this thread
            self._source.dropped += 1
            return b""


class Console:
    """Standard error, by its descriptor: a thread stuck in `sys.stderr` would hold a lock that the exit needs."""

    def write(self, lines: bytes) -> None:
        with contextlib.suppress(OSError):  # a closed terminal is no reason to stop
            while lines:
                lines = lines[os.write(2, lines) :]


class OwnLogger:
    """What structlog hands our own lines to. `put` may lead elsewhere later: loggers live as long as the process."""

    put: Callable[[Line], None] = staticmethod(lambda line: None)

    @classmethod
    def _put(cls, level: str, fields: dict[str, object]) -> None:
        cls.put(Line(time.time(), level, fields))

    def debug(self, fields: dict[str, object]) -> None:
        self._put("debug", fields)

    def info(self, fields: dict[str, object]) -> None:
        self._put("info", fields)

    def warning(self, fields: dict[str, object]) -> None:
        self._put("warning", fields)

    def error(self, fields: dict[str, object]) -> None:
        self._put("error", fields)

    def critical(self, fields: dict[str, object]) -> None:
        self._put("critical", fields)
