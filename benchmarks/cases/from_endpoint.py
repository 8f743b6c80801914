"""(l) From an OpenAI-compatible endpoint on the other core to the viewer: server CPU per token.

Also at 10 streams, which litellm can carry. Client and endpoint share a core: where both shares make one, it is full.
"""

from benchmarks import machine
from benchmarks.chart import Chart
from benchmarks.jarvis import Jarvis, JarvisCompletions
from benchmarks.measurement import run_streams, warm_up
from benchmarks.report import Goal, Options, Report, Row, goal_of_ratio
from benchmarks.servers import Endpoint, FastAPIOpenAI, LiteLLM, Server


async def run(options: Options) -> Report:
    streams, few, seconds = (10, 3, 1.5) if options.quick else (40, 10, 10.0)
    rows: list[Row] = []
    rows_few: list[Row] = []
    bars: dict[str, float] = {}
    async with Endpoint() as endpoint:
        url = f"http://127.0.0.1:{endpoint.port}/v1"
        official = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none"}
        theirs: list[Server] = [FastAPIOpenAI(**official), LiteLLM(**official)]
        ours: list[Server] = [kind(provider=url, CHAT_MODEL="bench") for kind in (Jarvis, JarvisCompletions)]
        for server in (*theirs, *ours):
            if not options.wants(server.name):
                continue
            async with server:
                if isinstance(server, JarvisCompletions) and not await server.exists():
                    continue
                await warm_up(server)
                rows_few.append(await _row(server, endpoint, few, seconds))
                rows.append(await _row(server, endpoint, streams, seconds))
            bars[server.title] = rows[-1]["whole_us"]
    title = f"Server CPU per token passed on from an endpoint, {streams} streams"
    notes = [f"At {few} streams, {goal.text}: {goal.value:g}" for goal in _goals(rows_few)]
    return Report("l", title, [*rows, *rows_few], _goals(rows), Chart(title, "µs", bars=bars), notes)


def _goals(rows: list[Row]) -> list[Goal]:
    return [
        goal
        for name in (Jarvis.name, JarvisCompletions.name)
        for goal in (
            *goal_of_ratio(rows, "whole_us", name, "fastapi-openai", 0.3),
            *goal_of_ratio(rows, "whole_us", name, "litellm", 0.1),
        )
    ]


async def _row(server: Server, endpoint: Endpoint, streams: int, seconds: float) -> Row:
    before = machine.cpu_seconds(endpoint.pid)
    load = await run_streams(server, streams=streams, seconds=seconds)
    endpoint_seconds = machine.cpu_seconds(endpoint.pid) - before
    return {
        "server": load.server,
        "streams": load.streams,
        "kept_up": load.kept_up,
        "whole_us": load.whole_us,
        "steady_us": load.steady_us,
        "complete": f"{load.complete_streams}/{load.streams}",
        "age_p50_ms": load.age_p50_ms,
        "age_p99_ms": load.age_p99_ms,
        "first_p50_ms": load.first_p50_ms,
        "client_share": load.client_share,
        "endpoint_share": round(endpoint_seconds / seconds, 3),
        "error": load.error[:60],
    }
