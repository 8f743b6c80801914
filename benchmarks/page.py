"""Puts the figures of a run into `docs/performance.md`: `python -m benchmarks.page RESULTS`.

RESULTS is the folder that `make bench` has named, with `capacity.json` and `profile.json` in it if they were measured
too. What stands between `<!-- a -->` and `<!-- /a -->` is replaced, charts go to `docs/performance/`; what was not
measured keeps what it has.
"""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Row, shown
from benchmarks.servers import PROJECT

PAGE = PROJECT / "docs/performance.md"
CHARTS = PROJECT / "docs/performance"


def parts(results: Path) -> dict[str, str]:
    """What was measured, as Markdown, by the name of its place in the page."""
    found: dict[str, str] = {}
    for path in sorted(results.glob("?.json")):
        case = json.loads(path.read_text())
        found[path.stem] = _case(case, has_chart=path.with_suffix(".svg").is_file())
        found.setdefault("machine", _machine(case))
    if (path := results / "capacity.json").is_file():
        capacity = json.loads(path.read_text())
        costs = {name: round(seconds * 1e6, 1) for name, seconds in capacity["costs"].items()}
        found |= {"costs": markdown([costs]), "process": markdown(capacity["process"])}
        if capacity["shared"]:
            found["shared"] = markdown([capacity["shared"]])
        found["fleets"] = markdown(capacity["fleets"])
    if (path := results / "profile.json").is_file():
        profile = json.loads(path.read_text())
        found["threads"] = markdown(profile["threads"])
        found["profile"] = markdown(profile["packages"]) + "\n\n" + markdown(profile["functions"])
    return found


def _case(case: dict[str, Any], *, has_chart: bool) -> str:
    lines = [markdown(case["rows"]), ""]
    for goal in case["goals"]:
        sign = "≥" if goal["at_least"] else "≤"
        what = "met" if goal["met"] else "**missed**"
        lines.append(f"- {goal['text']}: {goal['value']:g} ({sign} {goal['limit']:g}): {what}")
    lines += [f"- {note}" for note in case["notes"]]
    if case["error"]:
        lines.append(f"- The case failed: `{case['error'].splitlines()[-1]}`")
    if has_chart:
        lines += ["", f"![{case['title']}](performance/{case['case']}.svg)"]
    return "\n".join(lines)


def _machine(case: dict[str, Any]) -> str:
    machine = case["machine"]
    quick = " **A quick run: it shows that everything works, and measures little.**" if case["quick"] else ""
    load = case["load_average_before"]
    software = f"Linux {machine['kernel']}, Python {machine['python']}, Jarvis {machine['jarvis']}"
    return f"{machine['cpu']}, {software}; load before: {load:.2f}.{quick}"


def markdown(rows: Sequence[Row]) -> str:
    if not rows:
        return "Nothing was measured."
    names = [name for name in rows[0] if any(row.get(name) not in ("", None) for row in rows)]
    lines = [names, ["---"] + ["---:"] * (len(names) - 1)]
    lines += [[shown(row.get(name)).replace("|", "\\|") for name in names] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def filled(page: str, found: dict[str, str]) -> str:
    """Raises ValueError for a part that has no place."""
    for name, text in found.items():
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        page, times = place.subn(lambda match, text=text: f"{match[1]}{text}\n{match[2]}", page)  # type: ignore[misc]
        if times != 1:
            raise ValueError(f"{PAGE.name} has no place <!-- {name} -->")
    return page


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    results = Path(sys.argv[1])
    PAGE.write_text(filled(PAGE.read_text(), parts(results)))
    CHARTS.mkdir(exist_ok=True)
    for chart in results.glob("?.svg"):
        shutil.copy(chart, CHARTS / chart.name)


if __name__ == "__main__":
    main()
