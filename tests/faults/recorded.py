"""How many histories a run has recorded and judged, of each fault; workers tell the process that sums them up."""

from collections import Counter
from typing import Any

import pytest

histories: Counter[str] = Counter()
violating: Counter[str] = Counter()


def pytest_sessionfinish(session: pytest.Session) -> None:
    told: dict[str, Any] | None = getattr(session.config, "workeroutput", None)  # in a worker of pytest-xdist
    if told is not None:
        told["histories"], told["violating"] = dict(histories), dict(violating)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    told: dict[str, Any] = getattr(node, "workeroutput", {})
    histories.update(told.get("histories", {}))
    violating.update(told.get("violating", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if histories:
        each = ", ".join(f"{fault} {count}" for fault, count in sorted(histories.items()))
        terminalreporter.write_line(f"Recorded histories: {each}")
        terminalreporter.write_line(f"In all: {histories.total()}, with violations: {violating.total()}")
