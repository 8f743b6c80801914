"""Counters and histograms that the event loop counts up and a scrape reads: plain numbers, no lock.

prometheus-client's own take a lock for every change, and its multiprocess mode writes to mapped files: nothing for an
event loop. Here its classes are made at the scrape only. Each number is written by one thread, always the same.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import inf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

__all__ = ["Counter", "GaugeMetricFamily", "Histogram", "Metric"]


class Counter:
    """Only grows, until the process ends. Its samples are called `name` and `_total`.

    `known`: the values of its labels that are shown from the beginning, so that the first increase is seen as one.
    """

    def __init__(
        self, name: str, help: str, labels: Sequence[str] = (), known: Iterable[tuple[str, ...]] = ((),)
    ) -> None:
        self.name, self.help = name, help
        self._labels = labels
        self._counts: dict[tuple[str, ...], int] = dict.fromkeys(known, 0)

    def add(self, amount: int = 1, *labels: str) -> None:
        self._counts[labels] = self._counts.get(labels, 0) + amount

    def family(self) -> Metric:
        family = CounterMetricFamily(self.name, self.help, labels=self._labels)
        for labels, count in self._counts.items():
            family.add_metric(labels, count)
        return family


class Histogram:
    """How often a value was how large. `bounds` ascend; a value belongs to the first that it does not exceed."""

    def __init__(self, name: str, help: str, bounds: Sequence[float]) -> None:
        self.name, self.help = name, help
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self) -> Metric:
        names = map(floatToGoString, (*self._bounds, inf))
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(self.name, self.help, buckets=buckets, sum_value=self._sum)
