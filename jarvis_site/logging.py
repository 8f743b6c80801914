"""Where log lines go: `system.log` and the console, written by threads of their own and never by the event loop."""

import atexit
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Mapping
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict

from jarvis_site.log_file import LogFileHandler, RotatingFile
from jarvis_site.log_format import LineFormatter, json_line, logfmt_line

QUEUE_LINES = 10_000  # waiting for a slow disk or console; beyond that lines are dropped, and counted
# Lines are written together: to wake a thread for each of a stream's eight costs the loop more than to write them (#4).
_TOGETHER_SECONDS = 0.02
STOP_SECONDS = 3.0  # what a blocked console may delay the end of the process
OWN_LOGGERS = ("jarvis_site", "chat", "events")
_DJANGOS_HANDLERS = ("django", "django.server")  # one would send mail from the event loop, one is for `runserver`

_stop_writing: list["Writer"] = []


def configure(config: Mapping[str, Any]) -> None:
    """Django's `LOGGING_CONFIG`: `level`, `format` ("logfmt" or "json"), `directory`, `max_bytes`.

    `level` is that of our own loggers; others stay at INFO or above, since their DEBUG holds SQL with its parameters.
    A wrong level or format counts as INFO or logfmt here: `checks.py` refuses it with words.
    """
    stop()
    level = logging.getLevelNamesMapping().get(config["level"], logging.INFO)
    formatter = LineFormatter(json_line if config["format"] == "json" else logfmt_line)
    console = Console()
    file = LogFileHandler(RotatingFile(config["directory"] / "system.log", config["max_bytes"]))
    console.setFormatter(formatter)
    file.setFormatter(formatter)
    console_queue, file_queue = BoundedQueue(), BoundedQueue()
    # The console has a queue behind the file's: a pipe that nobody reads must not stop the file.
    _stop_writing[:] = [Writer(file_queue, file, console_queue), Writer(console_queue, console)]

    root = logging.getLogger()
    for handler in tuple(root.handlers):
        if type(handler) in (logging.StreamHandler, BoundedQueue):  # basicConfig's, or ours from an earlier call
            root.removeHandler(handler)
    root.addHandler(file_queue)
    root.setLevel(max(level, logging.INFO))
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(level)
    for name in _DJANGOS_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("django.request").setLevel(logging.ERROR)  # a line for each 404 is a stranger's to write
    logging.getLogger("django.security").setLevel(logging.CRITICAL)  # so are its errors, with tracebacks
    logging.captureWarnings(True)
    structlog.configure(
        processors=[_with_exc_info, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


@atexit.register
def stop() -> None:
    """Writes what waits, and ends the threads."""
    while _stop_writing:
        _stop_writing.pop(0).stop()


class Console(logging.Handler):
    """Standard error, by its descriptor: a thread stuck in `sys.stderr` would hold a lock that the exit needs."""

    def createLock(self) -> None:
        self.lock = None  # one thread writes, and may be stuck while `logging.shutdown` asks for the lock

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # a closed terminal is no reason to stop
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
            while line:
                line = line[os.write(2, line) :]


def _with_exc_info(logger: Any, method: str, event: EventDict) -> EventDict:
    """The traceback is rendered by another thread, which has no current exception."""
    exc_info = event.get("exc_info")
    if exc_info is True:
        exc_info = sys.exc_info()
    elif isinstance(exc_info, BaseException):
        exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
    if exc_info is not None:
        event["exc_info"] = exc_info if exc_info[0] is not None else None
    return event


class BoundedQueue(QueueHandler):
    """Hands records to a `Writer`; never waits. `dropped` counts what found it full."""

    queue: "SimpleQueue[logging.LogRecord | None]"

    def __init__(self) -> None:
        super().__init__(SimpleQueue())
        self.dropped = 0

    def createLock(self) -> None:
        self.lock = None  # the queue has its own, and the event loop must not wait for a thread that holds this one

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        if self.queue.qsize() < QUEUE_LINES:
            self.queue.put_nowait(record)
        else:
            self.dropped += 1


class Writer(QueueListener):
    """The thread behind a queue."""

    def __init__(self, source: BoundedQueue, *handlers: logging.Handler) -> None:
        super().__init__(source.queue, *handlers)
        self._source = source
        self._stopping = threading.Event()
        self._counters: list[BoundedQueue | LogFileHandler] = [
            source,
            *(each for each in handlers if isinstance(each, LogFileHandler)),
        ]
        self.start()

    def dequeue(self, block: bool) -> logging.LogRecord:
        record = super().dequeue(block)
        if record is not None and self._source.queue.empty():  # None is what `stop` sends
            self._stopping.wait(_TOGETHER_SECONDS)
        return record

    def handle(self, record: logging.LogRecord) -> None:
        try:
            super().handle(record)
        except Exception:  # a value that cannot be printed must not end this thread
            self._source.dropped += 1
        if self._source.queue.empty():
            self._tell_of_dropped()

    def stop(self) -> None:
        self._stopping.set()
        self.enqueue_sentinel()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
            if not self._thread.is_alive():
                self._tell_of_dropped()
            self._thread = None

    def _tell_of_dropped(self) -> None:
        for counter in self._counters:
            if count := counter.dropped:
                counter.dropped = 0
                fields = {"event": "log_lines_dropped", "count": count}
                record = logging.LogRecord("jarvis_site", logging.WARNING, "", 0, fields, (), None)
                record._logger = record._name = None
                super().handle(record)
