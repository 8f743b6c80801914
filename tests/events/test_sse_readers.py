"""What other people's readers make of our frames. Not in tests/core, since `openai` takes a second to import."""

import codecs
import json

from httpx_sse._decoders import SSEDecoder as HttpxDecoder
from httpx_sse._decoders import SSELineDecoder as HttpxLineDecoder
from hypothesis import given, settings
from hypothesis import strategies as st
from openai._streaming import SSEDecoder as OpenAIDecoder

from events.core import sse
from events.core.event import Event, encode_data, storable
from events.core.sse import Frame
from tests.core.texts import any_text, cut, cuts


def read_with_httpx(chunks: list[bytes]) -> list[Frame]:
    utf8, lines, decoder = codecs.getincrementaldecoder("utf-8")(), HttpxLineDecoder(), HttpxDecoder()
    texts = [text for chunk in chunks if (text := utf8.decode(chunk))]
    frames = [decoder.decode(line) for text in texts for line in lines.decode(text)]
    return [Frame(frame.event, frame.data, frame.id) for frame in frames if frame]


def read_with_openai(chunks: list[bytes]) -> list[Frame]:
    frames = OpenAIDecoder().iter_bytes(iter(chunks))
    return [Frame(frame.event or "message", frame.data, frame.id) for frame in frames]


def read_by_lines(chunks: list[bytes]) -> list[Frame]:
    """As a script does that knows no better than str.splitlines()."""
    blocks = [block.splitlines() for block in b"".join(chunks).decode().split("\n\n")[:-1]]
    fields = [dict(line.split(": ", 1) for line in block) for block in blocks]
    return [Frame(field["event"], field["data"], field["id"]) for field in fields]


@settings(max_examples=60, deadline=None)
@given(st.lists(any_text, min_size=1, max_size=4), cuts)
def test_any_text_comes_back_from_every_reader(texts: list[str], places: list[int]) -> None:
    events = [Event(seq, "chat.token", encode_data({"text": text})) for seq, text in enumerate(texts, start=1)]
    chunks = cut(b"".join(map(sse.encode, events)), places)
    expected = [Frame(event.type, event.data, str(event.seq)) for event in events]
    assert read_with_httpx(chunks) == read_with_openai(chunks) == read_by_lines(chunks) == expected
    assert [json.loads(frame.data)["text"] for frame in expected] == [storable(text) for text in texts]


def test_a_comment_between_frames_without_ids_is_seen_by_nobody() -> None:
    chunks = [sse.comment("ping"), sse.encode_frame("", "{}"), sse.comment("ping"), sse.encode_frame("", "[DONE]")]
    assert read_with_httpx(chunks) == [Frame("message", "{}", ""), Frame("message", "[DONE]", "")]
    assert read_with_openai(chunks) == [Frame("message", "{}", None), Frame("message", "[DONE]", None)]
