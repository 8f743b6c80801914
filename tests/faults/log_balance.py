"""Whether every stream that began has ended, by the logs of all processes that may have written of it.

A stream's last line may be another process's than its first one: who ends what a dead process left says so.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.live.log_lines import parse


def unaccounted(lines: Iterable[str], session: str, streams: int) -> list[str]:
    """What is wrong with the first and last lines of so many streams of the session; nothing if they balance."""
    started: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for line in lines:
        if f" session={session}" not in line:
            continue
        _, _, event, pairs = parse(line)
        if event == "stream_start":
            started[pairs["trace"]] += 1
        elif event == "stream_end" and pairs["cleanup_done"] == "True":
            ended[pairs["trace"]] += 1
    found = [] if len(started) == streams else [f"{len(started)} of {streams} streams have a first line"]
    for trace in dict.fromkeys([*started, *ended]):
        if (started[trace], ended[trace]) != (1, 1):
            found.append(f"trace {trace} has {started[trace]} first lines and {ended[trace]} last ones")
    return found


def log_lines(folders: Iterable[Path]) -> list[str]:
    """What is in the logs of these data directories, as far as it is written; rotated ones too. Blocks."""
    paths = [path for folder in folders for path in (folder / "logs").glob("system.log*")]
    return [line for path in paths if path.suffix != ".lock" for line in path.read_text().splitlines()]
