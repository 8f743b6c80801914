"""One measurement: streams at a rate, what arrived how old, and what it cost the server."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import machine
from benchmarks.client import TokenStream, open_stream, wait_for_all
from benchmarks.schedule import SPREAD_SECONDS, spread
from benchmarks.servers import Server

YOUNG_SECONDS = 0.25
LEAD_SECONDS = 0.7
_GRACE_SECONDS = 5.0  # a server that is later than this with the last token has not kept up


@dataclass(frozen=True, slots=True)
class Load:
    """`whole_us`: server CPU per token, requests included, in microseconds; `steady_us`: while all streams stream."""

    server: str
    streams: int
    rate: float
    tokens_expected: int
    tokens: int
    complete_streams: int
    whole_us: float
    steady_us: float
    server_share: float  # of its core, while all stream
    client_share: float  # near 1 the client is what is measured
    young_share: float  # of all tokens expected: younger than YOUNG_SECONDS
    age_mean_ms: float
    age_p50_ms: float
    age_p99_ms: float
    age_max_ms: float
    first_p50_ms: float
    first_p99_ms: float
    first_max_ms: float
    first_at: float  # when the first token was due, and when the last one was; seconds of CLOCK_MONOTONIC
    ends_at: float
    bytes_per_token: float
    reads_per_token: float
    error: str

    @property
    def kept_up(self) -> bool:
        """99 % of tokens young, none lost."""
        return self.complete_streams == self.streams and self.young_share >= 0.99

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "kept_up": self.kept_up}


async def warm_up(server: Server) -> None:
    await run_streams(server, streams=5, seconds=0.5)


async def run_streams(server: Server, *, streams: int, seconds: float, rate: float = 50.0) -> Load:
    """That many streams, each for that long."""
    tokens = max(1, round(seconds * rate))
    channels = await server.channels(streams)
    first_at = time.monotonic() + LEAD_SECONDS + streams / server.starts_per_second_of(streams)
    readers = [
        TokenStream(server.stream_request(channel, schedule), schedule, ends=server.streams_end)
        for channel, schedule in zip(channels, spread(first_at, streams, tokens, rate), strict=True)
    ]
    return await measure(server, readers)


async def measure(server: Server, readers: Sequence[TokenStream]) -> Load:
    """Opens the streams at the pace the server can start them, waits for their ends, closes them."""
    first_at = min(reader.schedule.at for reader in readers)
    ends_at = min(reader.schedule.ends_at for reader in readers)
    before = _used(server)
    watch = asyncio.create_task(_steady(server, first_at + SPREAD_SECONDS, ends_at))
    opened, pace = time.monotonic(), server.starts_per_second_of(len(readers))
    for i, reader in enumerate(readers):
        await asyncio.sleep(max(0.0, opened + i / pace - time.monotonic()))
        await open_stream(server.port, reader)
    await wait_for_all(readers, max(reader.schedule.ends_at for reader in readers) + _GRACE_SECONDS)
    after = _used(server)
    steady = await watch
    for reader in readers:
        reader.close()
    return _result(server, readers, after[0] - before[0], steady)


@dataclass(frozen=True, slots=True)
class _Window:
    start: float
    end: float
    server_seconds: float
    client_seconds: float


def _used(server: Server) -> tuple[float, float, float]:
    return machine.cpu_seconds(server.pid), time.process_time(), time.monotonic()


async def _steady(server: Server, start: float, end: float) -> _Window:
    await asyncio.sleep(max(0.0, start - time.monotonic()))
    server_before, client_before, begun = _used(server)
    await asyncio.sleep(max(0.0, end - time.monotonic()))
    server_after, client_after, ended = _used(server)
    return _Window(begun, ended, server_after - server_before, client_after - client_before)


def _result(server: Server, readers: Sequence[TokenStream], whole_seconds: float, steady: _Window) -> Load:
    ages = sorted(age for reader in readers for age in reader.ages())
    firsts = sorted(reader.times[0] - reader.schedule.at for reader in readers if reader.times)
    tokens, expected = len(ages), sum(reader.schedule.tokens for reader in readers)
    steady_tokens = sum(reader.tokens_between(steady.start, steady.end) for reader in readers)
    seconds = max(1e-9, steady.end - steady.start)
    return Load(
        server=server.name,
        streams=len(readers),
        rate=readers[0].schedule.rate,
        tokens_expected=expected,
        tokens=tokens,
        complete_streams=sum(reader.complete for reader in readers),
        whole_us=_per(whole_seconds * 1e6, tokens),
        steady_us=_per(steady.server_seconds * 1e6, steady_tokens),
        server_share=round(steady.server_seconds / seconds, 3),
        client_share=round(steady.client_seconds / seconds, 3),
        young_share=round(sum(age < YOUNG_SECONDS for age in ages) / expected, 5),
        age_mean_ms=round(sum(ages) / tokens * 1000, 2) if tokens else 0.0,
        age_p50_ms=percentile_ms(ages, 0.5),
        age_p99_ms=percentile_ms(ages, 0.99),
        age_max_ms=percentile_ms(ages, 1.0),
        first_p50_ms=percentile_ms(firsts, 0.5),
        first_p99_ms=percentile_ms(firsts, 0.99),
        first_max_ms=percentile_ms(firsts, 1.0),
        first_at=min(reader.schedule.at for reader in readers),
        ends_at=max(reader.schedule.ends_at for reader in readers),
        bytes_per_token=_per(sum(reader.received_bytes for reader in readers), tokens),
        reads_per_token=round(sum(len(reader.times) for reader in readers) / max(1, tokens), 3),
        error=next((reader.trouble for reader in readers if reader.trouble), ""),
    )


def percentile_ms(ordered_seconds: Sequence[float], share: float) -> float:
    """0 for none."""
    if not ordered_seconds:
        return 0.0
    index = min(len(ordered_seconds) - 1, int(share * len(ordered_seconds)))
    return round(ordered_seconds[index] * 1000, 2)


def _per(amount: float, tokens: int) -> float:
    return round(amount / tokens, 2) if tokens else 0.0
