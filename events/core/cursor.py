"""The last seq that one viewer has been given."""

from enum import Enum, auto


class Step(Enum):
    """What an arriving seq means to a viewer."""

    NEXT = auto()  # write it
    OLD = auto()  # drop it: the viewer has it
    GAP = auto()  # read the log first: something before it is missing


class Cursor:
    """Lets each event of a session through exactly once and in order. 0: nothing given yet."""

    __slots__ = ("seq",)

    def __init__(self, seq: int) -> None:
        self.seq = seq

    def step(self, seq: int) -> Step:
        """Only `NEXT` moves the cursor."""
        if seq == self.seq + 1:
            self.seq = seq
            return Step.NEXT
        return Step.OLD if seq <= self.seq else Step.GAP
