"""What a test has told a session to do, and so what its viewers may be given. Pure.

Nothing waits for what was told before: a stream that was told to finish and then to stop may end by either. So the
model keeps all ends that a stream may have, until it is known which one came.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from tests.history import History, Seen
from tests.transcript import Transcript


@dataclass(eq=False)
class Told:
    """`said`: by its model. `text`: of that, what viewers are known to have. `undoes`: what it was to roll back."""

    id: UUID
    prompt: str
    undoes: list["Told"] = field(default_factory=list)
    said: str = ""
    text: str = ""
    ends: set[str] = field(default_factory=set)
    end: str = ""

    def disagreement(self, history: History) -> str:
        """Between what it may have become and what was given, as long as that can change; "" if there is none."""
        text, end = history.text(self.id), history.end_of(self.id)
        whole = not self.ends or end == "completed"
        if end not in (self.ends or {""}):
            return f"{self} was given with the end {end!r}"
        if not (text == self.said if whole else self.said.startswith(text) and text.startswith(self.text)):
            return f"{self} was given with the text {text!r}"
        return ""

    def settle(self, history: History) -> None:
        """What was given is what it became."""
        self.text, self.end = history.text(self.id), history.end_of(self.id)
        if self.end:
            self.said, self.ends = self.text, {self.end}


class Tale(list[Told]):
    """All streams of the session, in the order of their turns."""

    @property
    def unfinished(self) -> list[Told]:
        """Those that nothing was told to end."""
        return [told for told in self if not told.ends]

    @property
    def in_doubt(self) -> bool:
        """Whether any may be ending."""
        return any(told.ends and not told.end for told in self)

    def ends(self, reason: str, which: Iterable[Told] | None = None) -> None:
        """These, or all, have ended or end: with this reason, unless another was first."""
        for told in self if which is None else which:
            if not told.end:
                told.ends.add(reason)

    def disagreements(self, history: History) -> Iterator[str]:
        yield from filter(None, (told.disagreement(history) for told in self))
        shown = _prompts(history)
        for told in self:
            undone = told.end == "interrupted" or "interrupted" in told.ends
            undoing = [other for other in self if undone and told in other.undoes]
            if not undoing and told.prompt not in shown:
                yield f"{told} is not shown"
            # Whoever was ended from outside may not have had its turn, in which it would have undone something.
            sure = any(not other.ends & {"worker_lost", "stopped"} for other in undoing)
            if sure and history.end_of(told.id) == "interrupted" and told.prompt in shown:
                yield f"{told} was rolled back, and is shown"

    def settle(self, history: History) -> None:
        for told in self:
            told.settle(history)


def _prompts(history: Iterable[Seen]) -> set[str]:
    transcript = Transcript()
    for seen in history:
        transcript.take(seen)
    return {message["text"] for message in transcript.messages if message["role"] == "user"}
