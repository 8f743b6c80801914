"""What a case found: a table, its goals, a chart; on the terminal and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.chart import Chart

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """`quick`: seconds instead of minutes, and figures that only show that everything works.

    `servers`: only these, if any are named. `found`: what the cases before found, by their letters.
    """

    quick: bool
    servers: frozenset[str]
    found: dict[str, "Report"]

    def wants(self, name: str) -> bool:
        return not self.servers or name in self.servers


@dataclass(frozen=True, slots=True)
class Goal:
    """Met if the value is at most the limit (`at_least`: at least), and Jarvis kept up with the load meanwhile."""

    text: str
    value: float
    limit: float
    at_least: bool = False
    kept_up: bool = True

    @property
    def met(self) -> bool:
        if not self.kept_up:  # who leaves work undone is cheap
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True, slots=True)
class Report:
    case: str
    title: str
    rows: Sequence[Row]
    goals: Sequence[Goal] = ()
    chart: Chart | None = None
    notes: Sequence[str] = field(default_factory=tuple)
    error: str = ""  # what ended the case before it found anything

    def as_json(self) -> dict[str, Any]:
        goals = [{**asdict(goal), "met": goal.met} for goal in self.goals]
        return {
            "case": self.case,
            "title": self.title,
            "rows": list(self.rows),
            "goals": goals,
            "notes": list(self.notes),
            "error": self.error,
        }

    def text(self) -> str:
        lines = [f"({self.case}) {self.title}", "", table(self.rows), ""]
        for goal in self.goals:
            sign = "≥" if goal.at_least else "≤"
            late = "" if goal.kept_up else ", but Jarvis did not keep up"
            what = "met   " if goal.met else "MISSED"
            lines.append(f"  {what} {goal.text}: {goal.value:g} ({sign} {goal.limit:g}){late}")
        lines += [f"  {note}" for note in self.notes]
        lines += [self.error] * bool(self.error)
        return "\n".join(lines) + "\n"

    def value(self, server: str, column: str) -> float:
        """0 if the server has no row."""
        return next((float(row[column]) for row in self.rows if row["server"] == server), 0.0)


def goal_of_ratio(
    rows: Sequence[Row], column: str, over: str, under: str, limit: float, *, at_least: bool = False
) -> list[Goal]:
    """Over ÷ under; nothing if one of them was not measured. Says it of a peer that did not keep up with the load."""
    row = {each["server"]: each for each in rows if each.get(column)}
    if over not in row or under not in row:
        return []
    behind = [name for name in (over, under) if not row[name].get("kept_up", True)]
    peers = [name for name in behind if not name.startswith("jarvis")]
    text = f"{column} of {over} ÷ {under}" + "".join(f" ({name} did not keep up)" for name in peers)
    value = round(float(row[over][column]) / float(row[under][column]), 3)
    return [Goal(text, value, limit, at_least, kept_up=behind == peers)]


def table(rows: Sequence[Row]) -> str:
    if not rows:
        return "  nothing was measured"
    names = list(rows[0])
    cells = [names, *([shown(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    return "\n".join(
        "  " + "  ".join(f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}" for i, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in cells)
    )


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 1 else f"{value:,.1f}"
    return "" if value is None else str(value)
