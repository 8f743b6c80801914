"""Server-sent events, written and read. https://html.spec.whatwg.org/multipage/server-sent-events.html

Written in the subset that seven independent readers read alike: LF only, one `data:` line, no frame without data.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from events.core.event import Event

# Milliseconds until a browser reconnects. Not a frame of its own, but the first line of the first one: some readers
# (httpx-sse, openai) take a frame without data for an event.
RETRY = b"retry: 1000\n"

_BOM = b"\xef\xbb\xbf"
_BREAKS_FIELD = re.compile("[\r\n\0]")
_BREAKS_LINE = re.compile("[\r\n]")


def encode(event: Event) -> bytes:
    """The event's frame. Raises `ValueError` as `encode_frame` does."""
    return encode_frame(event.type, event.data, event.seq)


def encode_frame(type: str, data: str, id: int | None = None) -> bytes:
    """One frame, UTF-8; without an `event:` line if the type is empty.

    Raises `ValueError` for CR, LF or NUL in the type, CR or LF in the data, and lone surrogates anywhere: each would
    end the line early, and let data pass for fields.
    """
    if "\n" in data or "\r" in data:
        raise ValueError(f"CR or LF in an event's data, type {type!r}")
    head = "" if id is None else f"id: {id}\n"
    return f"{head}{_event_line(type)}data: {data}\n\n".encode()


@lru_cache(maxsize=64)  # a program has a dozen types
def _event_line(type: str) -> str:
    if _BREAKS_FIELD.search(type):
        raise ValueError(f"CR, LF or NUL in an event's type: {type!r}")
    return f"event: {type}\n" if type else ""


def comment(text: str) -> bytes:
    """Bytes that show life and that readers skip. Raises `ValueError` for CR or LF.

    Not for a response whose frames carry ids: httpx-sse reads a blank line after an id as one more event.
    """
    if _BREAKS_LINE.search(text):
        raise ValueError("CR or LF in a comment")
    return f": {text}\n\n".encode()


class Frame(NamedTuple):
    """One event as received. `event` is "message" without an `event:` line; `id` is the frame's own, None without."""

    event: str
    data: str
    id: str | None


class FrameTooLarge(ValueError):
    """A frame, or the line it has come to, is longer than the decoder may hold."""


class Decoder:
    """Reads an event stream from bytes cut anywhere, as the specification says; invalid UTF-8 becomes U+FFFD.

    Of an unfinished frame it holds at most `max_line_bytes` in ended lines, and as much in the line that has not ended.
    A frame whose blank line never comes is never returned.
    """

    __slots__ = (
        "_at_start", "_data", "_event", "_frame_bytes", "_id", "_partial", "_partial_bytes", "_skip_lf",
        "last_event_id", "max_line_bytes",
    )  # fmt: skip

    def __init__(self, max_line_bytes: int = 1 << 20) -> None:
        self.max_line_bytes = max_line_bytes
        self.last_event_id = ""  # what a browser would send on reconnecting
        self._partial: list[bytes] = []  # of a line whose end has not come; joined once, when it comes
        self._partial_bytes = 0
        self._at_start = True
        self._skip_lf = False  # the last chunk ended in CR, so a leading LF belongs to the same line end
        self._data: list[bytes] = []
        self._frame_bytes = 0
        self._event = b""
        self._id: str | None = None

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that this chunk completes.

        Raises `FrameTooLarge`; the stream cannot be read further then.
        """
        frames: list[Frame] = []
        data = self._data
        for line in self._lines(chunk):
            if not line:
                if data:
                    frames.append(self._frame())
                    data.clear()
                self._end_frame()
                continue
            if line.startswith(b":"):  # a comment; never counted, as any number may precede the next frame
                continue
            self._frame_bytes += len(line)
            if self._frame_bytes > self.max_line_bytes:
                raise FrameTooLarge(f"A frame exceeds {self.max_line_bytes} bytes.")
            if line.startswith(b"data: "):
                data.append(line[6:])
            else:
                self._field(line)
        return frames

    def _lines(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk ends. bytes.splitlines() knows LF, CR and CRLF only, as the specification does."""
        if not chunk:
            return []
        if self._skip_lf:
            chunk = chunk.removeprefix(b"\n")
        if self._partial and (b"\n" in chunk or b"\r" in chunk):
            self._partial.append(chunk)
            chunk = b"".join(self._partial)
            self._partial.clear()
            self._partial_bytes = 0
        lines = chunk.splitlines()
        self._skip_lf = chunk.endswith(b"\r")
        if lines and not chunk.endswith((b"\n", b"\r")):
            self._keep(lines.pop())
        if self._at_start and lines:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        return lines

    def _keep(self, beginning: bytes) -> None:
        """Holds what has come of a line."""
        self._partial.append(beginning)
        self._partial_bytes += len(beginning)
        if self._partial_bytes > self.max_line_bytes:
            raise FrameTooLarge(f"A line exceeds {self.max_line_bytes} bytes.")

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")

    def _frame(self) -> Frame:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        event = self._event.decode("utf-8", "replace") if self._event else "message"
        return Frame(event, data.decode("utf-8", "replace"), self._id)

    def _end_frame(self) -> None:
        if self._id is not None:
            self.last_event_id = self._id
            self._id = None
        self._event = b""
        self._frame_bytes = 0
