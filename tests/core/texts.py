"""Texts that have broken readers: line ends of every kind, what looks like a field, halves of characters."""

from hypothesis import strategies as st

_PIECES = [
    "\r", "\n", "\r\n", "\n\n", "\0", "\x85", "\u2028", "\u2029", "\ufeff", "\x1b[2J",
    "data: x", "event: chat.end", "id: 9", ":", "\\u0000", "\\\0", '"', "\\",
    "😀", "👩\u200d👩\u200d👧", "é", "e\u0301", "שלום", "\u202eabc\u202c", "\ud83d", "\ude00", "\udfff",
]  # fmt: skip

any_text = st.lists(st.sampled_from(_PIECES) | st.text(max_size=5), max_size=8).map("".join)
valid_text = st.lists(
    st.sampled_from([piece for piece in _PIECES if not any("\ud800" <= character <= "\udfff" for character in piece)])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    max_size=8,
).map("".join)


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    """The bytes as a network may deliver them: cut at these places, taken round its length; two alike: nothing came."""
    places = sorted(place % (len(stream) + 1) for place in at)
    return [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]


cuts = st.lists(st.integers(min_value=0, max_value=10_000), max_size=12)
