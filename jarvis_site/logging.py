"""Where log lines go: `system.log` and the console, written by threads of their own and never by the event loop."""

import atexit
import logging
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict

from jarvis_site.log_file import RotatingFile
from jarvis_site.log_format import LineFormatter, json_line, logfmt_line
from jarvis_site.log_writer import Console, LineQueue, OwnLogger, Writer

OWN_LOGGERS = ("jarvis_site", "chat", "events")
_DJANGOS_HANDLERS = ("django", "django.server")  # one would send mail from the event loop, one is for `runserver`

_stop_writing: list[Writer] = []


def configure(config: Mapping[str, Any]) -> None:
    """Django's `LOGGING_CONFIG`: `level`, `format` ("logfmt" or "json"), `directory`, `max_bytes`.

    `level` is that of our own loggers; others stay at INFO or above, since their DEBUG holds SQL with its parameters.
    A wrong level or format counts as INFO or logfmt here: `checks.py` refuses it with words.
    """
    stop()
    level = logging.getLevelNamesMapping().get(config["level"], logging.INFO)
    formatter = LineFormatter(json_line if config["format"] == "json" else logfmt_line)
    file_lines, console_lines = LineQueue(), LineQueue()
    # The console has a queue behind the file's: a pipe that nobody reads must not stop the file.
    file = RotatingFile(config["directory"] / "system.log", config["max_bytes"])
    _stop_writing[:] = [
        Writer(file_lines, formatter, file, console_lines),
        Writer(console_lines, formatter, Console()),
    ]
    OwnLogger.put = file_lines.put

    root = logging.getLogger()
    for handler in tuple(root.handlers):
        if type(handler) in (logging.StreamHandler, LineQueue):  # basicConfig's, or ours from an earlier call
            root.removeHandler(handler)
    root.addHandler(file_lines)
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
        processors=[_with_exc_info],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: OwnLogger(),  # the standard library's takes 30 µs a line on the event loop (#4)
        cache_logger_on_first_use=True,
    )


@atexit.register
def stop() -> None:
    """Writes what waits, and ends the threads."""
    while _stop_writing:
        _stop_writing.pop(0).stop()


def _with_exc_info(logger: Any, method: str, event: EventDict) -> tuple[tuple[EventDict], dict[str, Any]]:
    """The argument for `OwnLogger`. The traceback is rendered by another thread, which has no current exception."""
    exc_info = event.get("exc_info")
    if exc_info is True:
        exc_info = sys.exc_info()
    elif isinstance(exc_info, BaseException):
        exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
    if exc_info is not None:
        event["exc_info"] = exc_info if exc_info[0] is not None else None
    return (event,), {}
