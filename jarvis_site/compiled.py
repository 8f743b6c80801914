"""The way of a token as machine code: the modules of `events` that each batch goes through, compiled by mypyc.

`make install` compiles them where there is a C compiler (`setup/compile`); where there is none, Python runs them as it
runs everything else. What was compiled is found by what it was compiled from: a source that has changed since is run
as it is now, and nothing old can be run by mistake. Why and what it gives: docs/decisions/0012.
"""

import hashlib
import importlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = PROJECT / ".compiled"

# Nothing here is replaced at run time or subclassed: machine code calls what it was compiled with.
MODULES = (
    *("events/core/batching.py", "events/core/cursor.py", "events/core/event.py", "events/core/pace.py"),
    *("events/core/sse.py", "events/all_rows.py", "events/chain.py", "events/event_log.py", "events/groups.py"),
    *("events/hub.py", "events/listeners.py", "events/log_threads.py", "events/log_transaction.py"),
    *("events/log_writer.py", "events/log_writing.py", "events/measuring.py", "events/metrics.py"),
    *("events/publisher.py", "events/resting.py", "events/statements.py", "events/threads.py", "events/timers.py"),
    "events/viewer.py",
)
LIBRARY = "jarvis__mypyc"  # what all of them share
_PACKAGES = ("events", "events.core")


def folder() -> Path:
    """Where these sources are, compiled for this Python, if they were."""
    digest = hashlib.sha256(sysconfig.get_config_var("EXT_SUFFIX").encode())
    for path in _compiled_from():
        digest.update(path.relative_to(PROJECT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return FOLDER / digest.hexdigest()[:16]


def use() -> bool:
    """From now on `events` is imported as it was compiled; False, and nothing else happens, if it was not.

    Comes before the first import of any of `MODULES`.
    """
    compiled = folder()
    sys.path.append(str(compiled))
    try:
        importlib.import_module(LIBRARY)
    except (ImportError, OSError):  # it is not there, or was not made for this machine
        sys.path.remove(str(compiled))
        return False
    for name in _PACKAGES:
        importlib.import_module(name).__path__.insert(0, str(compiled / name.replace(".", "/")))
    return True


def _compiled_from() -> Iterator[Path]:
    """What decides how the machine code looks: what is compiled, what that uses, and how."""
    yield Path(__file__)
    yield PROJECT / "setup/compile"
    yield PROJECT / "requirements-compile.txt"
    yield from sorted((PROJECT / "events").glob("*.py"))
    yield from sorted((PROJECT / "events/core").glob("*.py"))
