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
    """Met if the value is at most the limit (`at_least`: at least)."""

    text: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True, slots=True)
class Report:
    case: str
    title: str
    rows: Sequence[Row]
    goals: Sequence[Goal] = ()
    chart: Chart | None = None
    notes: Sequence[str] = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        goals = [{**asdict(goal), "met": goal.met} for goal in self.goals]
        return {
            "case": self.case,
            "title": self.title,
            "rows": list(self.rows),
            "goals": goals,
            "notes": list(self.notes),
        }

    def text(self) -> str:
        lines = [f"({self.case}) {self.title}", "", table(self.rows), ""]
        for goal in self.goals:
            sign = "≥" if goal.at_least else "≤"
            lines.append(f"  {'met   ' if goal.met else 'MISSED'} {goal.text}: {goal.value:g} ({sign} {goal.limit:g})")
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines) + "\n"

    def value(self, server: str, column: str) -> float:
        """0 if the server has no row."""
        return next((float(row[column]) for row in self.rows if row["server"] == server), 0.0)


def goal_of_ratio(rows: Sequence[Row], column: str, ours: str, theirs: str, limit: float) -> list[Goal]:
    """Ours ÷ theirs; nothing if one of them was not measured."""
    values = {row["server"]: float(row[column]) for row in rows}
    if not values.get(ours) or not values.get(theirs):
        return []
    return [Goal(f"{column} of {ours} ÷ {theirs}", round(values[ours] / values[theirs], 3), limit)]


def table(rows: Sequence[Row]) -> str:
    if not rows:
        return "  nothing was measured"
    names = list(rows[0])
    cells = [names, *([_shown(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    return "\n".join(
        "  " + "  ".join(f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}" for i, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in cells)
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 1 else f"{value:,.1f}"
    return "" if value is None else str(value)
