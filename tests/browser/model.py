"""A language model that says what a test tells it to, when the test tells it to."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator


class ModelFailure(Exception):
    """The model breaks off here."""


class Speech:
    """One answer, said piece by piece. `asked` is set when a prompt has come for it, `left` when it was cut short."""

    def __init__(self) -> None:
        self.prompt = ""
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self._pieces: asyncio.Queue[str | ModelFailure | None] = asyncio.Queue()

    def say(self, *pieces: str) -> "Speech":
        for piece in pieces:
            self._pieces.put_nowait(piece)
        return self

    def end(self) -> "Speech":
        self._pieces.put_nowait(None)
        return self

    def fail(self) -> "Speech":
        self._pieces.put_nowait(ModelFailure())
        return self

    async def pieces(self, prompt: str) -> AsyncIterator[str]:
        """Raises ModelFailure where the test said so."""
        self.prompt = prompt
        self.asked.set()
        finished = False
        try:
            while (piece := await self._pieces.get()) is not None:
                if isinstance(piece, ModelFailure):
                    finished = True
                    raise piece
                yield piece
            finished = True
        finally:
            if not finished:
                self.left.set()


class Model:
    """Prompts take the speeches in their order; a prompt for which none was prepared is echoed."""

    def __init__(self) -> None:
        self._speeches: deque[Speech] = deque()
        self.prompts: list[str] = []
        self.last = Speech()

    def will_say(self, *pieces: str) -> Speech:
        """An answer that is said at once, whole."""
        return self.will_speak().say(*pieces).end()

    def will_speak(self) -> Speech:
        """An answer that goes on until the test ends it."""
        speech = Speech()
        self._speeches.append(speech)
        return speech

    def next(self, prompt: str) -> Speech:
        self.prompts.append(prompt)
        self.last = self._speeches.popleft() if self._speeches else Speech().say("You said: ", prompt).end()
        return self.last


def in_pieces(text: str, length: int = 4) -> list[str]:
    return [text[at : at + length] for at in range(0, len(text), length)]
