"""When waiting tokens leave. Pure: the caller has the clock (seconds, monotonic) and does the sending."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor, inf

# No second may see more than 14 batches of a stream: so they are three ticks apart, and two only after 14 that were and
# left on time: 41 ticks are a second and two fifths of a tick.
_LEAST_TICKS, _EVEN, _ON_TIME = 3, 14, 0.4
# A batch that leaves a tick early is work too: of eight ticks an eighth, for all streams that have just begun, or were
# held up, and at that very time. So one in four, and none of a stream that is late (measured at 2,700 streams in a
# quiet moment: 1.3 % of the tokens late before, 0.2 % so).
_EVEN_IF_STRETCHED = 4
_ROUNDING = 1e-6  # of a tick: a flush that began on one is due on one, whatever the sum of floats says


@dataclass(slots=True, init=False)
class Batch:
    """The tokens that leave in one event; `size_bytes` counts UTF-8, the oldest has `waited_seconds` at most."""

    text: str
    tokens: int
    size_bytes: int
    waited_seconds: float = field(compare=False)

    # By hand: what `dataclass` makes at run time is not compiled.
    def __init__(self, text: str, tokens: int, size_bytes: int, waited_seconds: float = 0.0) -> None:
        self.text, self.tokens, self.size_bytes = text, tokens, size_bytes
        self.waited_seconds = waited_seconds

    def followed_by(self, later: "Batch") -> "Batch":
        """Both in one."""
        size_bytes = self.size_bytes + later.size_bytes
        return Batch(self.text + later.text, self.tokens + later.tokens, size_bytes, self.waited_seconds)


class Batcher:
    """Gathers the tokens of one stream, so that none waits longer than the interval (and a flush in flight).

    - Nothing was sent for `interval_seconds`: the token leaves at once. The first one is never delayed.
    - Otherwise the batch leaves `interval_seconds` after the previous flush started, or up to `tick_seconds` earlier:
      on a multiple of it, so that the batches of many streams leave together, in one commit. If that is not one of
      the stream's own ticks (`keep`), a batch leaves a tick earlier from time to time, until it is.
    - More than `flush_bytes` wait: at once.
    - At most one flush is in flight; what arrives meanwhile joins the next batch.

    The interval may be changed at any time (`keep`). Nothing is lost or reordered: the texts of all batches, joined,
    are the texts added so far, up to what waits.
    """

    __slots__ = (
        "_due",
        "_even",
        "_in_flight",
        "_interval_seconds",
        "_slot",
        "_started",
        "_texts",
        "_tick_seconds",
        "_ticks",
        "_waiting_since",
        "flush_bytes",
        "pending_bytes",
    )

    def __init__(self, interval_seconds: float, flush_bytes: int, tick_seconds: float = 0.0) -> None:
        self._interval_seconds = interval_seconds
        self.flush_bytes = flush_bytes
        self._tick_seconds = tick_seconds
        self._ticks, self._slot = 1, 0
        self._even = 0
        self.pending_bytes = 0
        self._texts: list[str] = []
        self._waiting_since = -inf
        self._started = -inf  # when the previous flush did
        self._due = -inf  # when the next one may, by the interval alone
        self._in_flight = False

    def keep(self, interval_seconds: float, ticks: int, slot: int) -> None:
        """From now on: the interval, which is so many ticks, and which ticks are its own (`slot` modulo `ticks`)."""
        self._interval_seconds, self._ticks, self._slot = interval_seconds, ticks, slot
        if self._started > -inf:
            self._due = self._round_down(self._started + interval_seconds, self._even)

    @property
    def pending_tokens(self) -> int:
        """Tokens that wait, those in flight left out; so does `pending_bytes`."""
        return len(self._texts)

    @property
    def immediate(self) -> bool:
        """Whether more waits than may wait for the interval."""
        return self.pending_bytes > self.flush_bytes

    @property
    def in_flight(self) -> bool:
        """Whether a batch was taken and is not done."""
        return self._in_flight

    def add(self, text: str, now: float) -> None:
        """One token. An empty text is none."""
        self.extend([text], now)

    def extend(self, texts: Sequence[str], since: float) -> None:
        """Tokens that were read in one go, and may have waited since then."""
        begins = not self._texts
        self._texts += filter(None, texts)
        if begins and self._texts:
            self._waiting_since = since
        text = "".join(texts)
        # A surrogate counts three bytes, as the U+FFFD does that will stand in its place.
        self.pending_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))

    def deadline(self) -> float | None:
        """When the waiting text must leave (not after now: at once). None: nothing waits or a flush is in flight."""
        if self._in_flight or not self._texts:
            return None
        if self.pending_bytes > self.flush_bytes:
            return self._waiting_since
        if self._started + self._interval_seconds <= self._waiting_since:
            return self._waiting_since
        return max(self._waiting_since, self._due)

    def next_deadline(self, now: float) -> float:
        """When the next batch leaves, if that of now has left: what comes until then need not come earlier."""
        deadline = self.deadline()
        if deadline is None or deadline > now:
            return self._due
        return self._round_down(now + self._interval_seconds, self._even_after(now))

    def take(self, now: float) -> Batch | None:
        """All that waits, due or not (other events do not overtake it), as a flush in flight; None if nothing waits.

        Raises `RuntimeError` while a flush is in flight.
        """
        if self._in_flight:
            raise RuntimeError("A flush is in flight; wait for its end.")
        if not self._texts:
            return None
        self._even = self._even_after(now)
        self._due = self._round_down(now + self._interval_seconds, self._even)
        batch = Batch("".join(self._texts), len(self._texts), self.pending_bytes, now - self._waiting_since)
        self._texts = []
        self.pending_bytes = 0
        self._started = now
        self._in_flight = True
        return batch

    def done(self, now: float) -> None:
        """The flush in flight has ended, well or not; what arrived meanwhile may leave from `deadline()` on."""
        if not self._in_flight:
            raise RuntimeError("No flush is in flight.")
        self._in_flight = False

    def _round_down(self, due: float, even: int) -> float:
        if not self._tick_seconds:
            return due
        tick = floor(due / self._tick_seconds + _ROUNDING)
        if (tick - self._slot) % self._ticks and self._may_be_early(even):
            tick -= 1
        return tick * self._tick_seconds

    def _may_be_early(self, even: int) -> bool:
        return even >= _EVEN if self._ticks <= _LEAST_TICKS else even > 0 and even % _EVEN_IF_STRETCHED == 0

    def _even_after(self, now: float) -> int:
        """Batches in a row, when one leaves now, that left at a tick, on time and not too soon after the one before."""
        if not self._tick_seconds or self._started + self._interval_seconds <= self._waiting_since:
            return 0
        due = self._due
        if not self._waiting_since < due <= now <= due + _ON_TIME * self._tick_seconds:
            return 0
        before = floor(self._started / self._tick_seconds + _ROUNDING)
        return self._even + 1 if round(due / self._tick_seconds) - before >= _LEAST_TICKS else 0
