import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from events.core import sse
from events.core.event import Event, encode_data, storable
from events.core.sse import Decoder, Frame, FrameTooLarge
from tests.core.texts import any_text, cut, cuts


def read(chunks: list[bytes]) -> list[Frame]:
    decoder = Decoder()
    return [frame for chunk in chunks for frame in decoder.feed(chunk)]


def read_by_the_book(stream: bytes) -> list[Frame]:
    """The specification's algorithm, as plainly as it can be written."""
    frames, event, data, own_id = [], "", "", None
    for line in re.split("\r\n|\r|\n", stream.decode("utf-8-sig", "replace"))[:-1]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                frames.append(Frame(event or "message", data[:-1], own_id))
            event, data, own_id = "", "", None
        elif name == "event":
            event = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            own_id = value
    return frames


def test_a_frame_is_id_event_and_one_line_of_data() -> None:
    frame = sse.encode(Event(17, "chat.token", '{"text":"Grüße"}', stream_id="s"))
    assert frame == 'id: 17\nevent: chat.token\ndata: {"text":"Grüße"}\n\n'.encode()


def test_a_frame_may_have_neither_id_nor_event() -> None:
    assert sse.encode_frame("ping", '{"seq":3}') == b'event: ping\ndata: {"seq":3}\n\n'
    assert sse.encode_frame("", "[DONE]") == b"data: [DONE]\n\n"


@given(st.lists(any_text, min_size=1, max_size=4), cuts)
@example(["\u2028\x85\r\n\r\nid: 9\r\ndata: x\n\n"], [])
def test_any_text_comes_back_however_it_is_cut(texts: list[str], places: list[int]) -> None:
    events = [Event(seq, "chat.token", encode_data({"text": text})) for seq, text in enumerate(texts, start=1)]
    frames = read(cut(b"".join(map(sse.encode, events)), places))
    assert frames == [Frame(event.type, event.data, str(event.seq)) for event in events]
    assert [json.loads(frame.data)["text"] for frame in frames] == [storable(text) for text in texts]


_FIELDS = [
    b"data: a",
    b"data:",
    b"data",
    b"data:b:c",
    b"event: e",
    b"event",
    b"id: 1",
    b"id:",
    b"id: \0",
    b"retry: 5",
    b": c",
]
_BITS = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b" ", b"x"]
_HALVES = [b"\xf0\x9f", b"\x98\x80", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8"]


@settings(max_examples=100)
@given(st.lists(st.sampled_from(_FIELDS + _BITS + _HALVES), max_size=25).map(b"".join), cuts)
@example(b"\xef\xbb\xbfdata: a\r\n\r\ndata: b\r\r", [1, 2, 11, 12, 13])
@example(b"data: a\n\xef\xbb\xbfdata: b\n\n", [8])
@example(b"data: a\r\ndata: b\r\n\r\n", [8, 8])
def test_any_bytes_cut_anywhere_are_read_by_the_book(stream: bytes, places: list[int]) -> None:
    assert read(cut(stream, places)) == read([stream]) == read_by_the_book(stream)


@pytest.mark.parametrize(
    ("stream", "frames"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [Frame("message", "YHOO\n+2\n10", None)]),
        (
            b": c\n\ndata: a\nid: 1\n\ndata:b\nid\n\ndata:  c\n\n",
            [("message", "a", "1"), ("message", "b", ""), ("message", " c", None)],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [("message", "", None), ("message", "\n", None)]),
        (b"event: a\n\ndata: b\n\n", [("message", "b", None)]),
        (b"event:  a\ndata: b\n\ndata: c\n\n", [(" a", "b", None), ("message", "c", None)]),
        (b"id: 1\0\ndata: a\n\n", [("message", "a", None)]),
        (b"data: \xf0\x9f\ndata: \xff\n\n", [("message", "\ufffd\n\ufffd", None)]),
    ],
)
def test_the_cases_of_the_specification(stream: bytes, frames: list[tuple[str, str, str | None]]) -> None:
    assert read([stream]) == read_by_the_book(stream) == frames


def test_a_frame_that_was_not_ended_does_not_count() -> None:
    decoder = Decoder()
    assert decoder.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n") == [Frame("message", "a", "1")]
    assert decoder.last_event_id == "1"
    assert decoder.feed(b"\n") == [Frame("message", "b", "2")]
    assert decoder.last_event_id == "2"


def test_the_last_id_outlives_frames_without_one() -> None:
    decoder = Decoder()
    frames = decoder.feed(b"id: 7\ndata: a\n\nevent: ping\ndata: {}\n\n")
    assert [frame.id for frame in frames] == ["7", None]
    assert decoder.last_event_id == "7"


def test_comments_and_retry_are_no_frames() -> None:
    assert read([sse.RETRY, sse.comment("ping"), sse.encode_frame("", "x")]) == [Frame("message", "x", None)]
    assert sse.comment("ping") == b": ping\n\n"


@pytest.mark.parametrize("breaker", ["\r", "\n", "\r\nid: 9"])
def test_nothing_can_be_smuggled_into_a_frame(breaker: str) -> None:
    for write in (
        lambda text: sse.encode_frame(text, "{}"),
        lambda text: sse.encode_frame("chat.token", text),
        sse.comment,
    ):
        with pytest.raises(ValueError, match="CR"):
            write(f"a{breaker}b")


@pytest.mark.parametrize("type", ["a\0b", "\ud800"])
def test_a_type_that_readers_disagree_on_is_refused(type: str) -> None:
    with pytest.raises(ValueError, match=r"NUL|surrogates"):
        sse.encode_frame(type, "{}")


@pytest.mark.parametrize(
    "stream",
    [b"data: " + b"x" * 95, b"x" * 101, b"data\n" * 26, b"event: e\n" * 13],
    ids=["a line", "no field", "lines of data", "other lines"],
)
@pytest.mark.parametrize("chunk_bytes", [1, 7, 200])
def test_a_frame_without_end_is_cut_off(stream: bytes, chunk_bytes: int) -> None:
    decoder = Decoder(max_line_bytes=100)
    chunks = [stream[start : start + chunk_bytes] for start in range(0, len(stream), chunk_bytes)]
    with pytest.raises(FrameTooLarge):
        [decoder.feed(chunk) for chunk in chunks]


@pytest.mark.parametrize("chunk_bytes", [1, 7, 20_000])
def test_frames_up_to_the_bound_and_any_number_of_comments_are_read(chunk_bytes: int) -> None:
    decoder = Decoder(max_line_bytes=100)
    stream = b": wait\n" * 100 + (b"data: " + b"x" * 94 + b"\n\n") * 100
    chunks = [stream[start : start + chunk_bytes] for start in range(0, len(stream), chunk_bytes)]
    frames = [frame for chunk in chunks for frame in decoder.feed(chunk)]
    assert frames == [Frame("message", "x" * 94, None)] * 100
