"""Charts as SVG text: bars, or lines over a logarithmic axis. Nothing but strings; readable in the dark too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log10

_COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#db2777")
_WIDTH = 720
_STYLE = "<style>text{font:13px system-ui,sans-serif;fill:#808590}.t{font-weight:600}line{stroke:#80859066}</style>"


@dataclass(frozen=True, slots=True)
class Chart:
    """`bars`: one value a name. `lines`: points a name, x logarithmic. One of the two."""

    title: str
    unit: str
    bars: Mapping[str, float] | None = None
    lines: Mapping[str, Sequence[tuple[float, float]]] | None = None

    def svg(self) -> str:
        height, body = _bars(self.bars) if self.bars is not None else _lines(self.lines or {})
        title = f'<text class="t" x="10" y="22">{escape(self.title)} ({escape(self.unit)})</text>'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
            f'height="{height}" role="img"><title>{escape(self.title)}</title>{_STYLE}{title}{body}</svg>\n'
        )


def _bars(bars: Mapping[str, float]) -> tuple[int, str]:
    longest = max([*bars.values(), 1e-9])
    parts: list[str] = []
    for i, (name, value) in enumerate(bars.items()):
        y = 40 + 30 * i
        colour = _COLOURS[0] if name.startswith("Jarvis") else "#94a3b8"
        width = max(1.0, value / longest * 340)
        parts.append(f'<text x="290" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="300" y="{y}" width="{width:.1f}" height="20" rx="3" fill="{colour}"/>')
        parts.append(f'<text x="{308 + width:.1f}" y="{y + 15}">{value:,.4g}</text>')
    return 50 + 30 * len(bars), "".join(parts)


def _lines(lines: Mapping[str, Sequence[tuple[float, float]]]) -> tuple[int, str]:
    points = [point for each in lines.values() for point in each] or [(1.0, 1.0)]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    top = max(max(y for _, y in points), 1e-9)

    def at(x: float, y: float) -> tuple[float, float]:
        share = log10(x / left) / log10(right / left) if right > left else 0.0
        return 60 + share * 440, 300 - y / top * 250

    parts = ['<line x1="60" y1="300" x2="500" y2="300"/><line x1="60" y1="50" x2="60" y2="300"/>']
    parts.append(
        f'<text x="54" y="55" text-anchor="end">{top:,.3g}</text><text x="54" y="304" text-anchor="end">0</text>'
    )
    for x in sorted({x for x, _ in points}):
        parts.append(f'<text x="{at(x, 0)[0]:.1f}" y="320" text-anchor="middle">{x:g}</text>')
    for i, (name, each) in enumerate(lines.items()):
        colour = _COLOURS[i % len(_COLOURS)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in (at(x, y) for x, y in each))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<rect x="515" y="{52 + 24 * i}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="533" y="{63 + 24 * i}">{escape(name)}</text>')
    return 340, "".join(parts)
