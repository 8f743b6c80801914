"""(l) From an OpenAI-compatible endpoint on the other core to the viewer: server CPU per token."""

from benchmarks.chart import Chart
from benchmarks.http import fetch
from benchmarks.jarvis import Jarvis, JarvisCompletions
from benchmarks.measurement import Load, run_streams, warm_up
from benchmarks.report import Options, Report, Row, goal_of_ratio
from benchmarks.schedule import Schedule
from benchmarks.servers import Endpoint, FastAPIOpenAI, LiteLLM, Server


async def run(options: Options) -> Report:
    streams, seconds = (10, 1.5) if options.quick else (40, 10.0)
    rows: list[Row] = []
    bars: dict[str, float] = {}
    async with Endpoint() as endpoint:
        url = f"http://127.0.0.1:{endpoint.port}/v1"
        official = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none"}
        theirs: list[Server] = [FastAPIOpenAI(**official), LiteLLM(**official)]
        ours: list[Server] = [kind(provider=url, CHAT_MODEL="bench") for kind in (Jarvis, JarvisCompletions)]
        for server in (*theirs, *ours):
            if not options.wants(server.name):
                continue
            load = await _run_server(server, streams, seconds)
            if load is not None:
                rows.append(_row(load))
                bars[server.title] = load.whole_us
    goals = [
        goal
        for name in (Jarvis.name, JarvisCompletions.name)
        for goal in (
            *goal_of_ratio(rows, "whole_us", name, "fastapi-openai", 0.3),
            *goal_of_ratio(rows, "whole_us", name, "litellm", 0.1),
        )
    ]
    title = f"Server CPU per token passed on from an endpoint, {streams} streams"
    return Report("l", title, rows, goals, Chart(title, "µs", bars=bars))


async def _run_server(server: Server, streams: int, seconds: float) -> Load | None:
    """None: this server has no such address."""
    async with server:
        if isinstance(server, JarvisCompletions):
            status, _ = await fetch(server.port, server.stream_request("", Schedule(0.0, 1, 50.0)))
            if status == 404:
                return None
        await warm_up(server)
        return await run_streams(server, streams=streams, seconds=seconds)


def _row(load: Load) -> Row:
    return {
        "server": load.server,
        "streams": load.streams,
        "whole_us": load.whole_us,
        "steady_us": load.steady_us,
        "complete": f"{load.complete_streams}/{load.streams}",
        "age_p50_ms": load.age_p50_ms,
        "age_p99_ms": load.age_p99_ms,
        "first_p50_ms": load.first_p50_ms,
        "client_share": load.client_share,
        "error": load.error[:60],
    }
