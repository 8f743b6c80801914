"""What a process tells at `/metrics`, read as Prometheus reads it."""

import asyncio
from collections.abc import Callable
from typing import Self

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


class Scrape:
    """One answer. Metrics are named as in a query: counters with `_total`, a histogram's parts by their own names."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples: list[Sample] = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    @property
    def names(self) -> set[str]:
        return {sample.name for sample in self._samples}

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of what has these labels; fails where there is no such sample."""
        values = [each.value for each in self._samples if each.name == name and labels.items() <= each.labels.items()]
        assert values, f"{name} {labels} is not told: {self.text}"
        return sum(values)

    def since(self, before: Self) -> Callable[..., float]:
        """How much a metric has grown."""
        return lambda name, **labels: self(name, **labels) - before(name, **labels)

    def late(self, seconds: str) -> float:
        """How often the loop was later than this, one of the histogram's bounds."""
        return self("jarvis_loop_lag_seconds_count") - self("jarvis_loop_lag_seconds_bucket", le=seconds)


async def scrape(url: str, **headers: str) -> Scrape:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics", headers=headers) as response:
        assert response.status == 200, await response.text()
        return Scrape(await response.text())


async def scrape_until(url: str, condition: Callable[[Scrape], object], timeout_seconds: float = 10.0) -> Scrape:
    """The first answer that fulfils the condition."""
    async with asyncio.timeout(timeout_seconds):
        while not condition(scraped := await scrape(url)):  # noqa: ASYNC110  (another process's numbers)
            await asyncio.sleep(0.02)
    return scraped
