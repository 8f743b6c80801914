"""Our plain numbers come out of a scrape as prometheus-client's own would."""

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric

from events.measuring import Counter, Histogram

BOUNDS = (0.1, 0.5, 1, 2.5)


def told(*families: Metric) -> set[tuple[object, ...]]:
    samples = [sample for family in families for sample in family.samples]
    return {(s.name, *sorted(s.labels.items()), s.value) for s in samples if not s.name.endswith("_created")}


@given(st.lists(st.sampled_from((0.0, *BOUNDS)) | st.floats(0, 10)))
def test_a_histogram_counts_as_the_original_does(values: list[float]) -> None:
    original = prometheus_client.Histogram("waited", "…", buckets=BOUNDS, registry=None)
    ours = Histogram("waited", "…", BOUNDS)
    for value in values:
        original.observe(value)
        ours.observe(value)
    assert told(ours.family()) == told(*original.collect())


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["a", "b", "c"]))))
def test_a_counter_counts_as_the_original_does(additions: list[tuple[int, str]]) -> None:
    original = prometheus_client.Counter("done", "…", ["by"], registry=None)
    ours = Counter("done", "…", ["by"], [("a",)])
    original.labels("a")
    for amount, by in additions:
        original.labels(by).inc(amount)
        ours.add(amount, by)
    assert told(ours.family()) == told(*original.collect())


def test_what_has_no_labels_begins_at_zero() -> None:
    [sample] = Counter("done", "…").family().samples
    assert (sample.name, sample.labels, sample.value) == ("done_total", {}, 0)
