"""What events measures of itself in this process; `docs/metrics.md` says what to make of it."""

from collections.abc import Iterator

from events.core.batching import Batch
from events.measuring import Counter, GaugeMetricFamily, Histogram, Metric

INTERVAL, BYTES, END = "interval", "bytes", "end"  # why a batch left

_AGES = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

tokens = Counter("jarvis_tokens", "Tokens that are stored, and so on their way to viewers.")
flushes = Counter(
    "jarvis_flushes", "Batches that are stored, by why they left.", ["cause"], [(INTERVAL,), (BYTES,), (END,)]
)
batch_size = Histogram(
    "jarvis_batch_size_bytes", "Text in one batch.", (16, 64, 128, 256, 512, 1024, 4096, 16384, 65536)
)
token_age = Histogram(
    "jarvis_token_age_at_flush_seconds", "How long the oldest token of a batch had waited when it left.", _AGES
)
commit_seconds = Histogram(  # written by the log's writer thread
    "jarvis_log_commit_seconds",
    "One attempt to commit what all streams had ready.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
commit_failures = Counter("jarvis_log_commit_failures", "Attempts to commit that failed; most are tried again.")
events = Counter("jarvis_events", "Events that are stored.")
gaps_repaired = Counter(
    "jarvis_gaps_repaired", "Times that a viewer was given from the log what had not come by the channel layer."
)
resets = Counter("jarvis_resets", "Viewers whose cursor the log could not serve: they were given a snapshot instead.")
layer_errors = Counter("jarvis_layer_errors", "Calls to the channel layer that failed or took too long.")

_MEASURED = (
    tokens,
    flushes,
    batch_size,
    token_age,
    commit_seconds,
    commit_failures,
    events,
    gaps_repaired,
    resets,
    layer_errors,
)


def flushed(batch: Batch, cause: str) -> None:
    """A batch is stored."""
    tokens.add(batch.tokens)
    flushes.add(1, cause)
    batch_size.observe(batch.size_bytes)
    token_age.observe(batch.waited_seconds)


def families(viewers: int) -> Iterator[Metric]:
    """All of it as it stands, for a scrape; on the loop, where nothing moves meanwhile. `viewers`: connected now."""
    yield GaugeMetricFamily("jarvis_viewers", "Connected readers of a session's events.", viewers)
    for measured in _MEASURED:
        yield measured.family()
