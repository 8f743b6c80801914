"""Texts that show by themselves what happened to them on the way. Pure; knows nothing of the product.

Token k of the plain corpus is `⟨k:crc32⟩`, so that loss, repetition, reordering and truncation show in the text itself.
In the timed corpus it carries its time of sending, `⟨k:crc32@seconds⟩`, on the clock all processes of a machine share.
In the hostile corpus something follows it that breaks careless code.
"""

import re
from zlib import crc32

_TOKEN = re.compile(r"⟨(\d+):([0-9a-f]{8})(?:@(\d+\.\d+))?⟩")

HOSTILE = (
    "x",
    "é😀",
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "\r\n",
    "\r",
    "\n\n",
    "data: no\n\nevent: neither\n\n",
    "\u2028\u2029\x85",
    "\ufeff",
    "nul \x00 here",
    "مرحبا بالعالم שלום",
    "e\u0301\u200d\u202e",
    '"\\\\"</script><img src=x onerror=alert(1)>',
    "[DONE]",
    "𝕏" * 4096,
    "a" * 65536,
)


def token_text(k: int, salt: str = "", *, sent_at: float | None = None) -> str:
    """Token k, counted from 0; texts of another salt are recognised as foreign."""
    time = "" if sent_at is None else f"@{sent_at:.6f}"
    return f"⟨{k}:{crc32(f'{salt}{k}'.encode()):08x}{time}⟩"


def hostile_token(k: int, salt: str = "") -> str:
    return token_text(k, salt) + HOSTILE[k % len(HOSTILE)]


def plain_text(tokens: int, salt: str = "") -> str:
    return "".join(token_text(k, salt) for k in range(tokens))


def hostile_text(tokens: int, salt: str = "") -> str:
    """What a viewer is to see of so many hostile tokens."""
    return "".join(hostile_token(k, salt) for k in range(tokens)).replace("\0", "\ufffd")


def problems(text: str, tokens: int | None = None, salt: str = "") -> list[str]:
    """What is wrong with a text of the plain or timed corpus; nothing if it is whole.

    `tokens` is how many there must be; None: any number, as of a stopped stream.
    """
    found: list[str] = []
    seen: set[int] = set()
    next_k = 0
    end = 0
    for match in _TOKEN.finditer(text):
        if match.start() != end:
            found.append(f"damaged before token {next_k}: {text[end : match.start()][:40]!r}")
        end = match.end()
        k = int(match[1])
        if match[2] != f"{crc32(f'{salt}{k}'.encode()):08x}":
            found.append(f"foreign token {k}")
        elif k in seen:
            found.append(f"repeated token {k}")
        elif k < next_k:
            found.append(f"reordered token {k} after {next_k - 1}")
        else:
            if k > next_k:
                found.append(f"lost or late tokens {next_k} to {k - 1}")
            next_k = k + 1
        seen.add(k)
    if end != len(text):
        found.append(f"truncated after token {next_k - 1}: {text[end:][:40]!r}")
    if tokens is not None and len(seen) != tokens:
        found.append(f"{len(seen)} tokens instead of {tokens}")
    return found


def tokens_in(text: str) -> int:
    """How many tokens the text has, whole or not as a text."""
    return len(_TOKEN.findall(text))


def sent_times(text: str) -> list[float]:
    """When each token of a timed text was sent, in monotonic seconds."""
    return [float(match[3]) for match in _TOKEN.finditer(text) if match[3]]
