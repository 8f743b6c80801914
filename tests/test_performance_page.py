"""What a benchmark measures has a place in docs/performance.md."""

import json
from pathlib import Path

from benchmarks.__main__ import CASES
from benchmarks.page import PAGE, filled, parts
from benchmarks.report import Goal, Report

OTHERS = ("machine", "threads", "profile", "costs", "process", "shared", "fleets")


def test_every_case_has_its_place_and_is_filled_in_again_and_again() -> None:
    page = PAGE.read_text()
    for text in ("first", "second"):
        page = filled(page, dict.fromkeys((*CASES, *OTHERS), text))
        assert page.count(f"-->\n{text}\n<!-- /") == len(CASES) + len(OTHERS)


def test_a_case_is_shown_with_its_goals(tmp_path: Path) -> None:
    rows = [{"server": "jarvis", "kept_up": False, "whole_us": 12.3, "error": ""}]
    report = Report("a", "CPU", rows, [Goal("jarvis ÷ fastapi", 0.9, 1.0, kept_up=False)])
    facts = {
        "quick": False,
        "load_average_before": 0.1,
        "machine": dict.fromkeys(("cpu", "kernel", "python", "jarvis"), "X"),
    }
    (tmp_path / "a.json").write_text(json.dumps({**facts, **report.as_json()}))
    shown = parts(tmp_path)["a"]
    assert "| server | kept_up | whole_us |" in shown
    assert "| jarvis | no | 12.3 |" in shown
    assert "- jarvis ÷ fastapi: 0.9 (≤ 1): **missed**" in shown
