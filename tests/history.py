"""What one viewer of a session was given, and what must hold for it whatever happened. Pure.

`problems` names every anomaly; its own tests have one crafted bad history for each.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

TERMINAL = ("chat.end", "chat.error")


class Seen(NamedTuple):
    """An event as it arrived; `seq` None for what is not stored (`ping`). `at`: monotonic seconds, where it matters."""

    seq: int | None
    type: str
    data: dict[str, Any]
    at: float = 0.0

    @property
    def status(self) -> str:
        """Of a `chat.status`, else ""."""
        return str(self.data["status"]) if self.type == "chat.status" else ""

    @property
    def stream_id(self) -> str:
        return str(self.data.get("stream_id", ""))


class History(list[Seen]):
    """In the order of arrival."""

    def of(self, stream_id: object) -> "History":
        """One stream's events."""
        return History(seen for seen in self if seen.stream_id == str(stream_id))

    def kinds(self) -> list[str]:
        """The types, statuses named, neighbouring tokens as one."""
        kinds: list[str] = []
        for seen in self:
            kind = seen.status or seen.type.removeprefix("chat.")
            if kind != "token" or kinds[-1:] != ["token"]:
                kinds.append(kind)
        return kinds

    def text(self, stream_id: object) -> str:
        return "".join(seen.data["text"] for seen in self.of(stream_id) if seen.type == "chat.token")

    def ends(self) -> dict[str, str]:
        """Of each stream that has ended: the reason, or the code of the error."""
        return {seen.stream_id: seen.data.get("reason") or seen.data["code"] for seen in self if seen.type in TERMINAL}

    def end_of(self, stream_id: object) -> str:
        """Empty while it has none."""
        return self.ends().get(str(stream_id), "")

    def holes(self, after: int) -> list[str]:
        """Where the seqs of a viewer that came with the cursor `after` do not count on by one."""
        return list(_holes(self, after))

    def problems(self, *, after: int = 0, ended: bool = True) -> list[str]:
        """What is wrong with the history of a viewer that came with the cursor `after`.

        `ended`: every stream must have its terminal event.
        """
        found = self.holes(after)
        open_streams: dict[str, _Stream] = {}
        streams: dict[str, _Stream] = {}
        for seen in self:
            if not seen.stream_id:
                continue
            stream = streams.setdefault(seen.stream_id, _Stream(seen.stream_id))
            found += stream.take(seen)
            others = [other for other in open_streams.values() if other is not stream]
            if others and stream.begun:
                found.append(f"{seen.seq}: {seen.type} of {stream.id} before the end of {others[0].id}")
            if stream.begun and not stream.ended:
                open_streams[stream.id] = stream
            else:
                open_streams.pop(stream.id, None)
        if ended:
            found += [f"{stream.id} has no terminal event" for stream in streams.values() if not stream.ended]
        return found


def _holes(history: Iterable[Seen], after: int) -> Iterator[str]:
    seq = after
    for seen in history:
        if seen.seq is None:
            continue
        if seen.seq != seq + 1:
            yield f"{seen.seq} after {seq}"
        seq = seen.seq


class _Stream:
    """What may follow what within one stream."""

    def __init__(self, stream_id: str) -> None:
        self.id = stream_id
        self.begun = self.ended = self.prompted = False
        self._kinds: list[str] = []

    def take(self, seen: Seen) -> Iterator[str]:
        kind = seen.status or seen.type
        if self.ended:
            yield f"{seen.seq}: {kind} of {self.id} after its end"
        if kind == "chat.prompt" and self.prompted:
            yield f"{seen.seq}: {self.id} is prompted twice"
        if kind == "chat.token" and "streaming" not in self._kinds:
            yield f"{seen.seq}: text of {self.id} before `streaming`"
        if kind in TERMINAL and not self.prompted:
            yield f"{seen.seq}: {self.id} ends without its prompt"
        if kind == "streaming" and not (self.begun and self.prompted):
            yield f"{seen.seq}: {self.id} streams before it thinks"
        if kind == "chat.prompt" and self._kinds not in (["thinking"], ["queued"], []):
            yield f"{seen.seq}: the prompt of {self.id} comes after {self._kinds}"
        if kind == "thinking" and self.begun:
            yield f"{seen.seq}: {self.id} begins twice"
        self.begun |= kind == "thinking"
        self.prompted |= kind == "chat.prompt"
        self.ended |= kind in TERMINAL
        self._kinds.append(kind)
