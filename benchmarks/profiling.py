"""Where a server's time goes: `python -m benchmarks.profiling [--server jarvis] [--streams 100] [--seconds 10]`.

By thread: what the kernel has counted while all streams of 50 tokens/s stream, without a profiler. By function: py-spy
looks at all threads 100 times a second, from the client's core; what is counted is those that run, and what C code does
is its caller's. For that nothing of Jarvis is compiled, since machine code has no frames to look at. It stops the
process to look, and hardly ever finds a thread at work that works for a millisecond at a time, as the log's writer
does: only the first of the two says what that costs. Needs the right to look into another process: root, or
`kernel.yama.ptrace_scope` 0.
"""

import argparse
import asyncio
import importlib
import json
import re
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.cases.cpu_per_token import SERVERS
from benchmarks.measurement import LEAD_SECONDS, run_streams, warm_up
from benchmarks.report import Row, table
from benchmarks.servers import BENCHMARKS, PROJECT, PYTHON, Server

_ROWS = 25
# Threads that wait; py-spy does not see it everywhere. What the kernel does in `select` is lost with them.
_WAITS = (
    *("_worker (concurrent/", "Threads._work (", "Writer._run (", "select (selectors", "wait (threading"),
    "_lock (threading",
)
_NATIVE_WAITS = ("epoll_pwait", "epoll_wait")  # uvloop's
_FRAME = re.compile(r"(?P<function>.+) \((?P<file>[^)]*)\)$")
_IS_PYTHON = re.compile(r"\.py:\d+\)$|\(<\w+>:\d+\)$")


async def by_thread(kind: type[Server], streams: int, seconds: float) -> list[Row]:
    """CPU of each thread for a token, in microseconds, while all streams stream; the names are Python's."""
    async with kind() as server:
        await warm_up(server)
        load = asyncio.create_task(run_streams(server, streams=streams, seconds=seconds + 2))
        await asyncio.sleep(LEAD_SECONDS + streams / server.starts_per_second + 1)
        before = machine.thread_cpu_seconds(server.pid)
        await asyncio.sleep(seconds)
        after = machine.thread_cpu_seconds(server.pid)
        command = [str(PYTHON.with_name("py-spy")), "dump", "--json", "--pid", str(server.pid)]
        dumped = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        rate = (await load).rate
    if dumped.returncode:
        raise SystemExit(dumped.stderr)
    names = {thread["os_thread_id"]: thread["thread_name"] for thread in json.loads(dumped.stdout)}
    spent: dict[str, float] = defaultdict(float)
    for thread, cpu_seconds in after.items():
        spent[re.sub(r"_\d+$", "", names.get(thread) or "not Python's")] += cpu_seconds - before.get(thread, 0.0)
    tokens = streams * rate * seconds
    found = [(round(cpu_seconds / tokens * 1e6, 2), name) for name, cpu_seconds in spent.items()]
    return [{"thread": name, "us_per_token": us} for us, name in sorted(found, reverse=True) if us]


async def profiled(kind: type[Server], streams: int, seconds: float) -> list[str]:
    """Lines of `outermost;…;innermost count`, from the first request to the last token."""
    with tempfile.TemporaryDirectory(prefix="benchmark-profile-") as folder:
        output = Path(folder) / "stacks"
        async with kind(EVENTS_COMPILED="false") as server:
            await warm_up(server)
            until = LEAD_SECONDS + streams / server.starts_per_second + seconds
            command = [str(PYTHON.with_name("py-spy")), "record", "--pid", str(server.pid), "--format", "raw"]
            command += f"--native --function --rate 100 --duration {round(until)}".split()
            command += ["--output", str(output)]
            load = asyncio.create_task(run_streams(server, streams=streams, seconds=seconds))
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
            await load
        if done.returncode:
            raise SystemExit(done.stderr)
        return (await asyncio.to_thread(output.read_text)).splitlines()


def shares(lines: Sequence[str]) -> tuple[list[Row], list[Row]]:
    """By package and by function: the time spent in it and its C code, and (functions) in all that it called."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    packages: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        native = stack.split(";")
        frames = [frame for frame in native if _IS_PYTHON.search(frame)]
        if not frames or native[-1].startswith(_NATIVE_WAITS) or any(wait in frames[-1] for wait in _WAITS):
            continue
        own[frames[-1]] += int(count)
        packages[_package(frames[-1])] += int(count)
        for frame in set(frames):
            total[frame] += int(count)
    everything = max(1, own.total())
    by_package = [{"package": name, "own_%": round(100 * n / everything, 1)} for name, n in packages.most_common(12)]
    by_function = [
        {"function": name, "own_%": round(100 * n / everything, 1), "total_%": round(100 * total[name] / everything, 1)}
        for name, n in own.most_common(_ROWS)
    ]
    return by_package, by_function


def _package(frame: str) -> str:
    found = _FRAME.match(frame)
    file = found["file"] if found else frame
    parts = file.removeprefix(f"{PROJECT}/").partition("site-packages/")
    return (parts[2] or parts[0]).partition("/")[0].partition(":")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = {kind.name: kind for kind in SERVERS}
    parser.add_argument("--server", choices=kinds, default="jarvis")
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--results", type=Path, default=BENCHMARKS / "results", help="where profile.json is written")
    options = parser.parse_args()
    machine.pin_client()
    uvloop: Any = importlib.import_module("uvloop")
    threads = uvloop.run(by_thread(kinds[options.server], options.streams, options.seconds))
    print(table(threads) + "\n")
    lines = uvloop.run(profiled(kinds[options.server], options.streams, options.seconds))
    packages, functions = shares(lines)
    print(table(packages) + "\n\n" + table(functions))
    options.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"threads": threads, "packages": packages, "functions": functions}, indent=1)
    (options.results / "profile.json").write_text(text)


if __name__ == "__main__":
    main()
