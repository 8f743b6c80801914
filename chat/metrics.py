"""What the chat measures of itself in this process; `docs/metrics.md` says what to make of it."""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator

from chat.stream_state import UNFINISHED, EndReason, StreamState, end_state
from events.measuring import Counter, GaugeMetricFamily, Histogram, Metric

streams_started = Counter("jarvis_streams_started", "Prompts that were accepted here, each with its stream.")
streams_ended = Counter(
    "jarvis_streams_ended",
    "Streams whose end was stored by this process: its own, and those of processes that died.",
    ["state", "reason"],
    [(end_state(reason).value, reason.value) for reason in EndReason],
)
first_token_seconds = Histogram(
    "jarvis_first_token_seconds",
    "From the acceptance of a prompt to the first token of its answer, waiting for its turn included.",
    (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60),
)
provider_errors = Counter(
    "jarvis_provider_errors",
    "Answers that a model refused, did not begin or broke off.",
    ["code"],
    [(code.value,) for code in EndReason if code.value.startswith("provider_")],
)

_MEASURED = (streams_started, streams_ended, first_token_seconds, provider_errors)


def families(running: Iterable[StreamState]) -> Iterator[Metric]:
    """All of it as it stands, for a scrape. `running`: the states of the streams that run here."""
    tally = Tally(running)
    gauge = GaugeMetricFamily("jarvis_streams", "Streams that run or wait in this process.", labels=["state"])
    for state in StreamState:
        if state in UNFINISHED:
            gauge.add_metric([state.value], tally[state])
    yield gauge
    for measured in _MEASURED:
        yield measured.family()
