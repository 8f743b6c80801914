"""`python -m benchmarks [CASE …] [--quick] [--servers NAME …]`: measures, prints, and writes `benchmarks/results/`."""

import argparse
import asyncio
import importlib
import json
import platform
import resource
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.report import Options, Report
from benchmarks.servers import BENCHMARKS
from jarvis_site import compiled

CASES = {
    "a": "cpu_per_token",
    "b": "capacity",
    "c": "growth",
    "d": "fan_out",
    "e": "delay",
    "f": "second_prompt",
    "g": "memory",
    "h": "loop_lag",
    "i": "two_processes",
    "j": "resume",
    "k": "disconnect",
    "l": "from_endpoint",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Jarvis beside what else there is.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(f"{k}: {v}" for k, v in CASES.items()))
    parser.add_argument("--quick", action="store_true", help="seconds a case: shows that it works, measures little")
    parser.add_argument("--servers", nargs="+", default=[], metavar="NAME", help="only these servers")
    parser.add_argument("--results", type=Path, default=BENCHMARKS / "results", help="folder (%(default)s)")
    arguments = parser.parse_args()
    unknown = [case for case in arguments.cases if case not in CASES]
    if unknown:
        parser.error(f"there is no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    machine.pin_client()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # servers inherit it
    uvloop: Any = importlib.import_module("uvloop")
    results = arguments.results / time.strftime("%Y%m%d-%H%M%S")
    results.mkdir(parents=True)
    reports: Sequence[Report] = uvloop.run(_run(arguments.cases or list(CASES), arguments, results))
    print(f"Written to {results}")
    if any(report.error for report in reports):
        return 1
    met = all(goal.met for report in reports for goal in report.goals)
    return 0 if met or arguments.quick else 1  # quick figures decide nothing


async def _run(letters: Sequence[str], arguments: argparse.Namespace, results: Path) -> list[Report]:
    options = Options(arguments.quick, frozenset(arguments.servers), {})
    for letter in letters:
        case: Any = importlib.import_module(f"benchmarks.cases.{CASES[letter]}")
        began, load = time.monotonic(), machine.load_average()
        try:
            report: Report = await case.run(options)
        except Exception:  # one case must not take the figures of all others with it
            report = Report(letter, CASES[letter], [], error=traceback.format_exc())
        options.found[letter] = report
        print(report.text(), flush=True)
        seconds = round(time.monotonic() - began, 1)
        facts = {"quick": options.quick, "seconds": seconds, "load_average_before": load, "machine": _machine()}
        text = json.dumps({**facts, **report.as_json()}, indent=1, ensure_ascii=False)
        await asyncio.to_thread((results / f"{letter}.json").write_text, text)
        if report.chart is not None:
            await asyncio.to_thread((results / f"{letter}.svg").write_text, report.chart.svg())
    return list(options.found.values())


def _machine() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    jarvis = "compiled" if compiled.folder().is_dir() else "not compiled"
    return {"cpu": model, "kernel": platform.release(), "python": platform.python_version(), "jarvis": jarvis}


if __name__ == "__main__":
    raise SystemExit(main())
