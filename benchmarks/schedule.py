"""When the tokens of a stream are due, and what they look like. The same in `peers/source.py` and `scripted:`."""

from dataclasses import dataclass
from zlib import crc32

_known: list[bytes] = []


@dataclass(frozen=True, slots=True)
class Schedule:
    """Token k is due at `at + k / rate`; `at` in seconds of CLOCK_MONOTONIC, which all processes share."""

    at: float
    tokens: int
    rate: float  # tokens a second

    def due(self, k: int) -> float:
        return self.at + k / self.rate

    @property
    def ends_at(self) -> float:
        return self.due(self.tokens)

    def query(self) -> str:
        return f"at={self.at:.6f}&tokens={self.tokens}&rate={self.rate:g}"


def spread(first_at: float, streams: int, tokens: int, rate: float) -> list[Schedule]:
    """Streams that begin within a third of a second, evenly, as people's do: no two in step."""
    return [Schedule(first_at + i * 0.6180339887 % 1 * SPREAD_SECONDS, tokens, rate) for i in range(streams)]


SPREAD_SECONDS = 1 / 3


def bodies(first: int, last: int) -> list[bytes]:
    """What stands between ⟨ and ⟩ in the tokens from `first` up to, not with, `last`."""
    for k in range(len(_known), last):
        number = b"%d" % k
        _known.append(b"%b:%08x" % (number, crc32(number)))
    return _known[first:last]
