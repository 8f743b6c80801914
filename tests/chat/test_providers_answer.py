"""Reading one streamed completion from its bytes, without a network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.providers.base import ContextExceeded, Finish, ProviderError
from chat.providers.openai_answer import AnswerReader
from chat.providers.openai_errors import RolesMustAlternate, refusal
from chat.stream_state import EndReason
from tests.corpus import HOSTILE
from tests.scripted_answers import DONE, FAULTS, OPENING, delta, finish, usage


def read(*chunks: bytes) -> tuple[str, AnswerReader]:
    reader = AnswerReader()
    text = "".join(token for chunk in chunks for token in reader.feed(chunk))
    return text, reader


def test_an_answer_is_its_deltas_in_order() -> None:
    text, reader = read(OPENING + delta("Hello") + delta(" world") + finish("stop") + usage(2) + DONE)
    assert text == "Hello world"
    assert reader.complete
    assert reader.finish() == Finish(EndReason.COMPLETED, 9, 2)


def test_all_that_comes_in_one_read_is_one_list() -> None:
    assert AnswerReader().feed(delta("a") + delta("b") + delta("c")) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("stop", EndReason.COMPLETED),
        ("length", EndReason.LENGTH),
        ("tool_calls", EndReason.COMPLETED),
        ("content_filter", EndReason.COMPLETED),
    ],
)
def test_the_reason_of_the_end(reason: str, end: EndReason) -> None:
    assert read(delta("a") + finish(reason) + DONE)[1].finish() == Finish(end)


def test_of_two_ends_the_first_counts_and_the_usage_after_it_is_read() -> None:
    text, reader = read(delta("a"), *[part for part in FAULTS["two_finishes"] if isinstance(part, bytes)])
    assert text == "a"
    assert reader.finish() == Finish(EndReason.COMPLETED, 9, 3)


def test_garbage_after_the_end_does_not_undo_it() -> None:
    _, reader = read(delta("a") + finish("stop") + b"data: {what\n\n")
    assert reader.finish() == Finish(EndReason.COMPLETED)


def test_without_an_end_the_answer_broke_off() -> None:
    for chunks in ([], [delta("a")], [delta("a"), DONE]):
        with pytest.raises(ProviderError, match="broke off") as raised:
            read(*chunks)[1].finish()
        assert raised.value.code is EndReason.PROVIDER_ERROR


def test_tokens_before_an_error_frame_are_not_lost() -> None:
    text, reader = read(delta("a") + delta("b") + b'data: {"error":{"message":"The GPU has left"}}\n\n' + delta("c"))
    assert text == "ab"
    assert reader.complete
    with pytest.raises(ProviderError, match="The GPU has left"):
        reader.finish()


@pytest.mark.parametrize("text", [*HOSTILE, "".join(HOSTILE)])
def test_any_text_arrives_as_it_was_sent_but_for_nul(text: str) -> None:
    assert read(delta(text) + finish("stop"))[0] == text.replace("\0", "\ufffd")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.data())
def test_it_does_not_matter_where_the_bytes_are_cut(text: str, data: st.DataObject) -> None:
    stream = OPENING + delta(text) + delta("😀") + finish("stop") + DONE
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    seen, reader = read(*chunks)
    assert seen == text.replace("\0", "\ufffd") + "😀"
    assert reader.finish() == Finish(EndReason.COMPLETED)


def raw_delta(json_text: str) -> bytes:
    return b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % json_text.encode()


@pytest.mark.parametrize(
    ("deltas", "text"),
    [
        ([r"a\ud83d", r"\ude00b"], "a😀b"),
        ([r"\ud83d", r"\ude00"], "😀"),
        ([r"\ud83d", r"\ude00\ud83d", r"\ude00"], "😀😀"),
        ([r"\ud83d", "b"], "\ufffdb"),
        ([r"\ud83d", r"\ud83d\ude00"], "\ufffd😀"),
        ([r"a\ude00"], "a\ufffd"),
        ([r"a\ud83d"], "a\ufffd"),
        ([r"a\ud83db"], "a\ufffdb"),
        ([r"\u0000"], "\ufffd"),
        (["\0"], "\ufffd"),
        (["\t"], "\t"),
    ],
)
def test_halved_pairs_are_joined_and_what_no_text_may_hold_is_replaced(deltas: list[str], text: str) -> None:
    seen, reader = read(*map(raw_delta, deltas), finish("stop"))
    assert seen == text
    assert reader.finish().reason is EndReason.COMPLETED


@pytest.mark.parametrize("data", ["{", "5", "[]", '{"choices":5}', '{"choices":[{"delta":{"content":[1]}}]}', "["])
def test_what_is_no_chat_completion_is_an_error(data: str) -> None:
    for line in (data, data * 100_000):
        text, reader = read(delta("a"), b"data: %b\n\n" % line.encode()[:900_000])
        assert text == "a"
        assert reader.error is not None
        assert reader.error.code is EndReason.PROVIDER_ERROR


@pytest.mark.parametrize(
    "data", ["", " ", "{}", '{"choices":null}', '{"choices":[{"delta":null,"finish_reason":""}]}', '{"error":null}']
)
def test_frames_that_say_nothing_are_passed_over(data: str) -> None:
    text, reader = read(delta("a"), b"data: %b\n\n" % data.encode(), b": ping\n\n", delta("b"), finish("stop"))
    assert text == "ab"
    assert reader.error is None


def test_another_choice_is_not_ours() -> None:
    other = b'data: {"choices":[{"index":1,"delta":{"content":"no"},"finish_reason":"stop"}]}\n\n'
    assert read(delta("a"), other, delta("b"), finish("stop"))[0] == "ab"


def test_a_line_without_an_end_is_bounded() -> None:
    reader = AnswerReader()
    fed = 0
    while not reader.complete:
        reader.feed(b"x" * 65536)
        fed += 65536
    assert fed <= 2 << 20
    assert reader.error is not None
    assert "1 MiB" in reader.error.message


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "retryable", "words"),
    [
        (400, b'{"error":{"message":"bad \\n top_p"}}', ProviderError, "provider_error", False, "bad top_p"),
        (400, b'{"error":{"message":"I know canary"}}', ProviderError, "provider_error", False, "I know ***"),
        (400, b'{"detail":"no such field"}', ProviderError, "provider_error", False, "no such field"),
        (400, b'{"error":{"type":"exceed_context_size_error"}}', ContextExceeded, "provider_error", False, "CONTEXT"),
        (400, b'{"error":{"code":"context_length_exceeded"}}', ContextExceeded, "provider_error", False, "CONTEXT"),
        (400, b'{"message":"maximum context length is 4096"}', ContextExceeded, "provider_error", False, "CONTEXT"),
        (500, b'{"error":"exceeds the context window"}', ContextExceeded, "provider_error", False, "CONTEXT"),
        (500, b'{"error":"roles must alternate"}', RolesMustAlternate, "provider_error", False, ""),
        (401, b'{"error":{"message":"bad key canary"}}', ProviderError, "provider_error", False, "CHAT_PROVIDER_KEY"),
        (403, b"", ProviderError, "provider_error", False, "CHAT_PROVIDER_KEY"),
        (404, b"nope", ProviderError, "provider_error", False, "CHAT_MODEL"),
        (429, b"[]", ProviderError, "provider_unavailable", True, "in 7 seconds"),
        (503, b"5", ProviderError, "provider_unavailable", True, "in 7 seconds"),
        (500, b"Traceback", ProviderError, "provider_error", True, "its log"),
        (302, b"", ProviderError, "provider_error", False, "CHAT_PROVIDER_URL"),
        (418, b"[" * 100_000, ProviderError, "provider_error", False, "418"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_do(
    status: int, body: bytes, kind: type[ProviderError], code: str, retryable: bool, words: str
) -> None:
    error = refusal(status, body, model="m", key="canary", retry_after="7")
    assert type(error) is kind
    assert (error.code, error.retryable) == (code, retryable)
    assert words in error.message
    assert "canary" not in error.message
    assert "\n" not in error.message
