"""What a model is given of a conversation. Pure.

Always the system prompt and the newest prompt; then as many of the newest turns, whole, as fit. A turn is a prompt
and what was answered to it, an interrupted answer as far as it was seen. What is too large by itself loses its middle,
with a note in its place that the model can read; nothing is ever refused for its length.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from chat.providers.base import ModelMessage

MESSAGE_TOKENS = 8  # what a chat template adds to each message; SmolLM2's adds 5, and 3 to all
_WORTH_SHORTENING_TOKENS = 64  # below this, the rest of a turn says nothing

_LETTERS = bytes(range(ord("A"), ord("Z") + 1)) + bytes(range(ord("a"), ord("z") + 1))
_DIGITS = b"0123456789"
_SPACES = b" "
_LINE_ENDS = b"\n\r\t"
_NOT_ASCII = bytes(range(128, 256))


def estimate_tokens(text: str) -> int:
    """How many tokens the text may be; in O(n) at the speed of C, since a prompt may have a megabyte.

    Measured on SmolLM2's tokenizer, estimate/real: English 1.3, Python 1.3, markdown 1.2, German 0.9, Russian 1.5,
    Chinese 1.1, Korean 0.9, emoji 1.1, digits 1.0, hexadecimal 0.8, base64 0.55 (the worst that is not made up).
    """
    data = text.encode("utf-8", "replace")
    size = len(data)

    def count(kind: bytes) -> int:
        return size - len(data.translate(None, kind))

    letters, digits, spaces = count(_LETTERS), count(_DIGITS), count(_SPACES)
    line_ends, not_ascii = count(_LINE_ENDS), count(_NOT_ASCII)
    signs = size - letters - digits - spaces - line_ends - not_ascii
    return int(letters / 3 + digits + 0.1 * spaces + 0.5 * line_ends + 0.8 * (signs + not_ascii)) + 1


def choose(messages: Sequence[ModelMessage], system_prompt: str, context_tokens: int) -> tuple[ModelMessage, ...]:
    """The system prompt and the newest of `messages` (oldest first) that are estimated to fit into `context_tokens`.

    Messages without text are left out, so a prompt that was not answered stands alone; sent again, it is given once.
    System messages among them follow the system prompt, in the one message that many chat templates allow. The last
    message is the last of `messages` that has text; the result is empty only if none has.
    """
    present = [message for message in messages if message.content]
    system = "\n\n".join(filter(None, [system_prompt, *(m.content for m in present if m.role == "system")]))
    chosen: list[ModelMessage] = []
    room = context_tokens
    if system:
        system = _shortened(system, context_tokens // 2)
        chosen.append(ModelMessage("system", system))
        room -= _cost(chosen)
    talk = [message for message, _ in groupby(message for message in present if message.role != "system")]
    return (*chosen, *_newest(_turns(talk), room))


def halved(chosen: Sequence[ModelMessage]) -> tuple[ModelMessage, ...]:
    """What to try once more with, after the model has said that `chosen` exceeds its context: about half of it."""
    return choose(chosen, "", _cost(chosen) // 2)


def _cost(messages: Iterable[ModelMessage]) -> int:
    return sum(MESSAGE_TOKENS + estimate_tokens(message.content) for message in messages)


def _turns(messages: Iterable[ModelMessage]) -> list[list[ModelMessage]]:
    """Each prompt with what follows it."""
    turns: list[list[ModelMessage]] = []
    for message in messages:
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def _newest(turns: list[list[ModelMessage]], room: int) -> list[ModelMessage]:
    """The newest turn, shortened if it must be, and the whole turns before it that fit.

    The one before the newest is shortened too, rather than left out: "go on" means nothing without it.
    """
    kept: list[ModelMessage] = []
    for position, turn in enumerate(reversed(turns)):
        cost = _cost(turn)
        if cost > room:
            if position == 0 or (position == 1 and room >= _WORTH_SHORTENING_TOKENS):
                shortened = _shortened_turn(turn, room)
                if position == 0 or _cost(shortened) <= room:  # the notes of many short messages may weigh more
                    kept = shortened + kept
            break
        kept = turn + kept
        room -= cost
    return kept


def _shortened_turn(turn: list[ModelMessage], room: int) -> list[ModelMessage]:
    """Every message of the turn with an equal share of the room; what a short one leaves, the longer ones get."""
    shares: dict[int, int] = {}
    room -= MESSAGE_TOKENS * len(turn)
    by_size = sorted(range(len(turn)), key=lambda index: estimate_tokens(turn[index].content))
    for done, index in enumerate(by_size):
        shares[index] = min(estimate_tokens(turn[index].content), room // (len(turn) - done))
        room -= shares[index]
    return [ModelMessage(m.role, _shortened(m.content, shares[index])) for index, m in enumerate(turn)]


def _shortened(text: str, tokens: int) -> str:
    """The text without its middle, if it has more than so many tokens; a note says how much is missing."""
    estimate = estimate_tokens(text)
    if estimate <= tokens:
        return text
    kept = max(0, len(text) * tokens // estimate)
    while True:
        note = f"\n[… {len(text) - kept} characters left out …]\n"
        shortened = text[: kept - kept // 2] + note + text[len(text) - kept // 2 :]
        if kept == 0 or estimate_tokens(shortened) <= tokens:
            return shortened
        kept = kept * 9 // 10
