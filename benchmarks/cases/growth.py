"""(c) CPU per token as streams are added: nothing may cost more because there is more of it."""

from benchmarks.cases.cpu_per_token import run_server
from benchmarks.chart import Chart
from benchmarks.jarvis import Jarvis, JarvisUvicorn
from benchmarks.measurement import Load
from benchmarks.report import Goal, Options, Report, Row
from benchmarks.servers import BareLoop, FastAPI, PlainChannels, Server

SERVERS: tuple[type[Server], ...] = (BareLoop, FastAPI, PlainChannels, Jarvis, JarvisUvicorn)


async def run(options: Options) -> Report:
    counts, seconds = ((5, 20), 1.0) if options.quick else ((10, 100, 400, 1000), 6.0)
    rows: list[Row] = []
    lines: dict[str, list[tuple[float, float]]] = {}
    goals: list[Goal] = []
    notes: list[str] = []
    for kind in SERVERS:
        if not options.wants(kind.name):
            continue
        loads: dict[int, Load] = {}
        for streams in counts:
            load = await run_server(kind, streams=streams, seconds=seconds)
            rows.append(_row(kind, load))
            loads[streams] = load
            if not load.complete_streams:
                break  # more streams would not be better
        lines[kind.title] = [(streams, load.steady_us) for streams, load in loads.items() if load.steady_us]
        usual = counts[-3] if len(counts) > 2 else counts[0]
        if issubclass(kind, Jarvis):
            goals += _growth(kind, loads, usual, counts[-1])
        if kind is PlainChannels:
            notes = [f"{goal.text}: {goal.value:g}" for goal in _growth(kind, loads, usual, counts[-2])]
    title = "Server CPU per token as streams are added"
    return Report("c", title, rows, goals, Chart(title, "µs, streaming", lines=lines), notes)


def _growth(kind: type[Server], loads: dict[int, Load], few: int, many: int) -> list[Goal]:
    if few == many or few not in loads or many not in loads or not loads[few].steady_us:
        return []
    text = f"steady_us of {kind.name} at {many} ÷ at {few}"
    value = round(loads[many].steady_us / loads[few].steady_us, 3)
    return [Goal(text, value, 1.0, kept_up=loads[few].kept_up and loads[many].kept_up)]


def _row(kind: type[Server], load: Load) -> Row:
    return {
        "server": kind.name,
        "streams": load.streams,
        "kept_up": load.kept_up,
        "whole_us": load.whole_us,
        "steady_us": load.steady_us,
        "complete": f"{load.complete_streams}/{load.streams}",
        "age_p99_ms": load.age_p99_ms,
        "server_share": load.server_share,
        "client_share": load.client_share,
        "error": load.error[:60],
    }
