"""How many histories a run has recorded and judged, of each fault; workers tell the process that sums them up."""

from collections import Counter
from typing import Any

import pytest

histories: Counter[str] = Counter()
violating: Counter[str] = Counter()
late_loops: Counter[str] = Counter()  # times that a server's event loop was late by more than 250 ms


def pytest_sessionfinish(session: pytest.Session) -> None:
    told: dict[str, Any] | None = getattr(session.config, "workeroutput", None)  # in a worker of pytest-xdist
    if told is not None:
        told["histories"], told["violating"], told["late_loops"] = dict(histories), dict(violating), dict(late_loops)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    told: dict[str, Any] = getattr(node, "workeroutput", {})
    histories.update(told.get("histories", {}))
    violating.update(told.get("violating", {}))
    late_loops.update(told.get("late_loops", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if histories:
        terminalreporter.write_line(f"Recorded histories: {_each(histories)}")
        terminalreporter.write_line(f"In all: {histories.total()}, with violations: {violating.total()}")
    if late_loops:
        terminalreporter.write_line(f"Times that an event loop was late by more than 250 ms: {_each(late_loops)}")


def _each(counts: Counter[str]) -> str:
    return ", ".join(f"{fault} {count}" for fault, count in sorted(counts.items()))
