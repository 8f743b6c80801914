"""What must hold of everything that clients saw, whatever happened to the servers. Pure: it names what does not.

It judges I1 to I5 of `docs/architecture.md`: over what all viewers of one session were given, each in its own order,
and the session as it is stored (`GET /api/sessions/{id}/`). Its own tests have one crafted bad history each. I6 is no
matter of histories: `held.py` looks at the processes, and the scenes that strain it ask it (F09, F12, F13).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from tests.history import TERMINAL, History, Seen
from tests.transcript import Transcript

UNFINISHED = ("queued", "thinking", "streaming")


class Frame(Protocol):
    """`seq` None: not an event of the log."""

    @property
    def seq(self) -> int | None: ...
    @property
    def type(self) -> str: ...
    @property
    def data(self) -> dict[str, Any]: ...


class Watched(Protocol):
    """A viewer that came with the cursor `after`; None: without one, so that its first frame is a snapshot."""

    @property
    def after(self) -> int | None: ...
    @property
    def seen(self) -> Sequence[Frame]: ...


def violations(
    viewers: Sequence[Watched],
    stored: Mapping[str, Any] | None = None,
    *,
    caught_up: bool = False,
    resets_allowed: bool = False,
) -> list[str]:
    """`caught_up`: each viewer must have been given all that is stored, and nothing else.

    `resets_allowed`: the log may have been pruned, so that a viewer may be given a snapshot instead of what it missed.
    """
    log: dict[int, Seen] = {}
    found = []
    for number, viewer in enumerate(viewers):
        own = (*_order(viewer, resets_allowed), *_agreement(viewer, log))
        found += [f"viewer {number}: {each}" for each in own]
        if caught_up and stored is not None:
            found += [f"viewer {number} {each}" for each in _distance(_last(viewer), stored["last_seq"])]
    whole = History(log[seq] for seq in sorted(log))
    if not whole or whole.holes(0):  # each viewer's own holes are named; what follows needs all
        if caught_up and stored is not None and stored["last_seq"]:
            found.append("nobody saw it whole: its text was compared with nothing")
        return found
    found += whole.problems(ended=False)
    found += _snapshots(viewers, whole, caught_up)
    if stored is not None:
        found += _unended(whole, stored)
        found += _differences(whole, stored["last_seq"], stored, "what is stored")
    return found


def _distance(last: int, stored: int) -> Iterator[str]:
    """I3 has two sides: what is stored is shown, and what was shown is stored."""
    if last < stored:
        yield f"was given {last} of {stored} events: the rest is lost"
    elif last > stored:
        yield f"was given {last} events, of which {stored} are stored: shown and then gone"


def _order(viewer: Watched, resets_allowed: bool) -> Iterator[str]:
    """Exactly the next seq, always.

    Only a snapshot sets the cursor anew: the first frame of who came without one, or a reset where there may be any.
    """
    cursor = viewer.after
    given: set[int] = set()
    for frame in viewer.seen:
        if frame.seq is None:
            continue
        if frame.type == "snapshot":
            if cursor is not None and not (resets_allowed and frame.data.get("reset")):
                yield f"a snapshot at {frame.seq} follows {cursor}: what it stands for was not given"
        else:
            if cursor is None:
                yield f"seq {frame.seq} comes before any snapshot"
            elif frame.seq in given:
                yield f"seq {frame.seq} is repeated"
            elif frame.seq <= cursor:
                yield f"seq {frame.seq} is reordered: it follows {cursor}"
            elif frame.seq > cursor + 1:
                yield f"seq {frame.seq} follows {cursor}: what is between is lost or late"
            given.add(frame.seq)
        cursor = frame.seq


def _agreement(viewer: Watched, log: dict[int, Seen]) -> Iterator[str]:
    """Fills the log, which all viewers share, and tells where this one was given something else."""
    for frame in viewer.seen:
        if frame.seq is None or frame.type == "snapshot":
            continue
        seen = Seen(frame.seq, frame.type, frame.data)
        if log.setdefault(frame.seq, seen) != seen:
            yield f"seq {frame.seq} is {seen[1:]}, was given before as {log[frame.seq][1:]}"


def _snapshots(viewers: Sequence[Watched], whole: History, caught_up: bool) -> Iterator[str]:
    for number, viewer in enumerate(viewers):
        for frame in viewer.seen:
            if frame.type == "snapshot" and frame.seq is not None:
                if caught_up and frame.seq > len(whole):
                    yield f"the snapshot of viewer {number} at {frame.seq} of {len(whole)} is of what never was"
                yield from _differences(whole, frame.seq, frame.data, f"the snapshot of viewer {number}")


def _differences(whole: History, seq: int, session: Mapping[str, Any], what: str) -> Iterator[str]:
    """Between the session as it is said to be at that seq, and the events up to there."""
    if len(whole) < seq:
        return
    told = Transcript()
    for seen in whole[:seq]:
        told.take(seen)
    for difference in told.differences(Transcript(dict(session))):
        yield f"the events up to {seq} say {difference} in {what}"


def _unended(whole: History, stored: Mapping[str, Any]) -> Iterator[str]:
    """Streams that have no terminal event, though they are not stored as unfinished."""
    unfinished = {each["stream_id"] for each in stored["messages"] if each.get("state") in UNFINISHED}
    told = whole[: stored["last_seq"]]
    ended = {seen.stream_id for seen in told if seen.type in TERMINAL}
    for stream in dict.fromkeys(seen.stream_id for seen in told if seen.stream_id):
        if stream not in ended | unfinished:
            yield f"{stream} has no terminal event"


def _last(viewer: Watched) -> int:
    return max((frame.seq for frame in viewer.seen if frame.seq is not None), default=viewer.after or 0)
