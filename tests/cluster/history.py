"""What must hold of everything that clients saw, whatever happened to the servers. Pure: it gives what does not."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tests.cluster.client import TERMINAL, Seen, Viewer


def violations(viewers: Iterable[Viewer], messages: Iterable[Mapping[str, Any]] = ()) -> list[str]:
    """I1, I2, I3, I4 of `docs/architecture.md`: over what all viewers saw, and the session's stored messages."""
    found: list[str] = []
    agreed: dict[int, tuple[str, str]] = {}
    for number, viewer in enumerate(viewers):
        found += [f"viewer {number}: {each}" for each in _of_one(viewer.seen)]
        for seen in viewer.events:
            assert seen.seq is not None
            content = (seen.type, str(seen.data))
            if agreed.setdefault(seen.seq, content) != content:
                found.append(f"viewer {number}: seq {seen.seq} is {content}, another saw {agreed[seen.seq]}")
        for message in messages:
            stream = message.get("stream_id") or ""
            whole = viewer.of(stream, "chat.status", "chat.prompt") and viewer.ends(stream)
            if whole and viewer.text(stream) != message["text"]:
                found.append(f"viewer {number}: {stream} read {viewer.text(stream)!r}, stored is {message['text']!r}")
    return found


def overlaps(seen: Iterable[Seen]) -> list[str]:
    """Streams whose thinking or text comes before the end of the stream that had begun before them."""
    found, running = [], ""
    for each in seen:
        stream = each.data.get("stream_id", "")
        works = each.type == "chat.token" or (each.type == "chat.status" and each.data["status"] != "queued")
        if works and running not in ("", stream):
            found.append(f"seq {each.seq}: {stream} works while {running} has not ended")
        if works:
            running = stream
        if each.type in TERMINAL and stream == running:
            running = ""
    return found


def _of_one(seen: Iterable[Seen]) -> list[str]:
    found = []
    cursor: int | None = None
    ends: Counter[str] = Counter()
    for each in seen:
        if each.type == "snapshot":
            cursor = each.seq
            continue
        if each.seq is None:
            continue
        if cursor is not None and each.seq != cursor + 1:
            found.append(f"seq {each.seq} follows {cursor}")
        cursor = each.seq
        stream = each.data.get("stream_id", "")
        if each.type == "chat.token" and ends[stream]:
            found.append(f"seq {each.seq}: a token of {stream} after its end")
        if each.type in TERMINAL:
            ends[stream] += 1
            if ends[stream] > 1:
                found.append(f"seq {each.seq}: {stream} ends again")
    return found
