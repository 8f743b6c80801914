"""How old tokens are when their readers get them: N streams from a scripted HTTP endpoint through one Daphne.

    python -m benchmarks.load [--streams 100] [--rate 50] [--seconds 10]

Server, endpoint and readers are three processes of this machine, and share its clock and its cores. Exits with 1 if a
stream lacks something, or if less than 99 % of the tokens are younger than 250 ms.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from tests.live.load import Load, stream_at_once
from tests.live.site import Site, running_site

PERCENTS = (50, 90, 99, 99.9, 100)
LIMIT_SECONDS = 0.25
LEAST_QUICK = 0.99


async def measure(site: Site, streams: int, rate: float, seconds: float) -> tuple[Load, float]:
    """The load, and how many seconds of CPU the server has spent on it."""
    async with site.client() as client:
        await stream_at_once(client, streams=2, rate=rate, seconds=1)
        before = await asyncio.to_thread(cpu_seconds, site.server.pid)
        load = await stream_at_once(client, streams=streams, rate=rate, seconds=seconds)
        return load, await asyncio.to_thread(cpu_seconds, site.server.pid) - before


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--rate", type=float, default=50, help="tokens a second of each stream")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    with running_site(LOG_LEVEL="INFO") as site:
        load, cpu = asyncio.run(measure(site, options.streams, options.rate, options.seconds))
    quick = sum(age < LIMIT_SECONDS for age in load.ages) / max(1, len(load.ages))
    print(f"{load.streams} streams at {options.rate:g} tokens/s for {options.seconds:g} s: {len(load.ages)} tokens")
    print(f"server: {cpu:.1f} s of CPU, {1e6 * cpu / max(1, len(load.ages)):.0f} µs a token")
    print("complete: " + ("all" if not load.incomplete else f"not {len(load.incomplete)}"))
    print("age      " + "".join(f"{f'{percent:g} %':>10}" for percent in PERCENTS))
    print("ms       " + "".join(f"{1000 * load.percentile(percent):>10.1f}" for percent in PERCENTS))
    print(f"{100 * quick:.2f} % of the tokens are younger than {1000 * LIMIT_SECONDS:g} ms")
    for line in load.incomplete[:10]:
        print(line)
    sys.exit(bool(load.incomplete) or quick < LEAST_QUICK)


if __name__ == "__main__":
    main()
