"""A hundred answers at once through one process: every one complete. How quick it is, `benchmarks/load.py` tells."""

from tests.live.load import stream_at_once
from tests.live.site import Site


async def test_a_hundred_streams_at_50_tokens_a_second_are_complete(site: Site) -> None:
    async with site.client() as client:
        load = await stream_at_once(client, streams=100, rate=50, seconds=4)
    assert load.incomplete == []
    assert len(load.ages) == 100 * 50 * 4
    assert load.percentile(99) < 10, "late on a busy machine, but never stuck"
