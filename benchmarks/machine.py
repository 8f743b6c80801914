"""What the machine gives: two cores to keep apart, and what a process has used, as /proc tells it."""

import os
import socket
from pathlib import Path

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


def cores() -> tuple[int, int]:
    """The server's core and the client's. Raises SystemExit on a machine with one: nothing measured there is true."""
    allowed = sorted(os.sched_getaffinity(0) | _pinned_before)
    if len(allowed) < 2:
        raise SystemExit("The benchmarks need two cores: one for the server, one for the client.")
    return allowed[0], allowed[-1]


_pinned_before: set[int] = set()


def pin_client() -> None:
    """This process, and what it starts unless told otherwise, stays on the client's core."""
    _pinned_before.update(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores()[1]})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return [pid]
    return [pid, *(each for child in children for each in family(int(child)))]


def cpu_seconds(pid: int) -> float:
    """User and system time of the process's threads and of all that descends from it, ended children included."""
    return sum(_cpu_seconds_of(each) for each in family(pid))


def _cpu_seconds_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) * _TICK_SECONDS


def thread_cpu_seconds(pid: int) -> dict[int, float]:
    """User and system time of each of the process's threads that live, by the kernel's number of the thread."""
    found = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        fields = (thread / "stat").read_text().rpartition(")")[2].split()
        found[int(thread.name)] = (int(fields[11]) + int(fields[12])) * _TICK_SECONDS
    return found


def memory_bytes(pid: int) -> int:
    """Resident memory that is the process's own (no shared libraries), its descendants' included."""
    total = 0
    for each in family(pid):
        for line in Path(f"/proc/{each}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1]) * 1024
    return total


def load_average() -> float:
    """Of the last minute: what else runs while it is measured shows here."""
    return os.getloadavg()[0]
