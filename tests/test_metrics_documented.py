"""What is measured is explained, and shown on the dashboard; nothing else is."""

import json
import re
from pathlib import Path
from typing import Any

from chat import metrics as chat_metrics
from events import metrics as events_metrics
from jarvis_site.loop_watch import LoopWatch

DOCS = Path(__file__).resolve().parent.parent / "docs"
HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def measured() -> set[str]:
    families = [*events_metrics.families(0), *chat_metrics.families([]), *LoopWatch().families()]
    return {family.name + ("_total" if family.type == "counter" else "") for family in families}


def named(text: str) -> set[str]:
    return {HISTOGRAM.sub("", name) for name in re.findall(r"\bjarvis_[a-z_]+", text)} - {"jarvis_site"}


def dashboard() -> Any:
    return json.loads((DOCS / "grafana-dashboard.json").read_text())


def test_every_metric_has_its_line_in_the_table() -> None:
    text = (DOCS / "metrics.md").read_text()
    lines = re.findall(r"^\| `(jarvis_\w+)` \| (?:counter|gauge|histogram) \|.*\| .+ \|$", text, flags=re.MULTILINE)
    assert sorted(lines) == sorted(measured())
    assert named(text) <= measured()


def test_every_metric_has_its_place_on_the_dashboard() -> None:
    expressions = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    assert named(" ".join(expressions)) == measured()


def test_the_dashboard_can_be_imported() -> None:
    board = dashboard()
    assert board["title"] == "Jarvis"
    assert {variable["name"] for variable in board["templating"]["list"]} == {"datasource", "instance"}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in board["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["title"]
        assert panel["description"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs)) > 0
        for target in panel["targets"]:
            assert target["expr"].count("(") == target["expr"].count(")")
