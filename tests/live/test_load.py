"""A hundred answers at once through one process: every one complete. How quick it is, `benchmarks/load.py` tells."""

from collections.abc import Iterator

import pytest

from tests.live.load import stream_at_once
from tests.live.site import Site, running_site


@pytest.fixture
def usual_site() -> Iterator[Site]:
    """Without a log line for every flush."""
    with running_site(LOG_LEVEL="INFO") as site:
        yield site


async def test_a_hundred_streams_at_50_tokens_a_second_are_complete(usual_site: Site) -> None:
    async with usual_site.client() as client:
        load = await stream_at_once(client, streams=100, rate=50, seconds=4)
    assert load.incomplete == []
    assert len(load.ages) == 100 * 50 * 4
    assert load.percentile(99) < 10, "late on a busy machine, but never stuck"
    assert len(await usual_site.until_lines(lambda lines: len(lines) >= 100, "stream_end")) == 100
