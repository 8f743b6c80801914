"""One session inside the test's own process: prompts go in, what its viewers are given comes out."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from chat import registry, streams
from chat.models import ChatSession, Message, Stream
from chat.prompt import PromptRequest
from chat.running_stream import RunningStream
from chat.threads import in_thread
from chat.turns import Accepted
from events import bus
from events.log_transaction import LogTransaction
from events.viewer import Lost
from tests.history import History, Seen

CALLER = "user:1"
FOREVER = "scripted:?tokens=1000000&rate=100"
SILENT = "scripted:?hang_after=0"
SHORT = "scripted:?tokens=3&rate=0"


class Conversation:
    """A viewer follows it from the beginning; `history` is what that viewer has been given."""

    def __init__(self, session_id: UUID) -> None:
        self.session_id = session_id
        self.history = History()
        self._viewer = bus.current().viewer(session_id, 0)
        self._changed = asyncio.Event()
        self._following = asyncio.get_running_loop().create_task(self._follow())

    @classmethod
    async def begin(cls) -> "Conversation":
        session = await in_thread(ChatSession.objects.create)
        return cls(session.id)

    async def leave(self) -> None:
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        self._viewer.leave()

    async def ask(self, text: str = SHORT, **options: Any) -> Accepted:
        return await streams.answer(self.request(text, **options))

    def request(self, text: str = SHORT, **options: Any) -> PromptRequest:
        fields = {"if_busy": "interrupt", "on_disconnect": "continue", "caller_label": CALLER, **options}
        return PromptRequest(self.session_id, text, **fields)

    async def ask_and_hear(self, text: str = FOREVER, **options: Any) -> Accepted:
        """Returns when its first text has come."""
        accepted = await self.ask(text, **options)
        await self.until(lambda history: history.text(accepted.stream.id))
        return accepted

    async def stop(self, stream_id: UUID | None = None) -> bool:
        return await streams.stop(self.session_id, stream_id)

    async def until(self, condition: Callable[[History], object], timeout: float = 10) -> None:
        async with asyncio.timeout(timeout):
            while not condition(self.history):
                self._changed.clear()
                await self._changed.wait()

    async def end_of(self, accepted: Accepted) -> str:
        """The reason, or the code of the error, once the viewer and this process know of it."""
        await self.until(lambda history: history.end_of(accepted.stream.id))
        await ended(accepted)
        return self.history.end_of(accepted.stream.id)

    async def stored(self, accepted: Accepted) -> Stream:
        """The stream as the database has it, with its prompt and message."""
        rows = Stream.objects.select_related("prompt", "message")
        return await in_thread(lambda: rows.get(id=accepted.stream.id))

    async def messages(self) -> list[Message]:
        """In the order of the conversation."""
        rows = Message.objects.filter(session_id=self.session_id).order_by("position")
        return await in_thread(lambda: list(rows))

    async def _follow(self) -> None:
        await self._viewer.join()
        while True:
            delivered = await self._viewer.next()
            assert not isinstance(delivered, Lost)
            for event, _ in delivered:
                self.history.append(Seen(event.seq, event.type, json.loads(event.data)))
            self._changed.set()


def running(accepted: Accepted) -> RunningStream:
    return registry.current().streams[accepted.stream.id]


async def ended(accepted: Accepted) -> None:
    """Nobody here runs it any more."""
    await until(lambda: accepted.stream.id not in registry.current().streams)


async def until(condition: Callable[[], object], timeout: float = 10) -> None:
    """For what nobody announces."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


@contextmanager
def busy_storage() -> Iterator[None]:
    """Whatever wants to be written waits until the end of the block."""
    done = threading.Event()

    def wait(log: LogTransaction) -> None:
        done.wait(30)

    waiting = asyncio.ensure_future(bus.current().transaction(wait))
    try:
        yield
    finally:
        done.set()
        waiting.add_done_callback(lambda future: future.exception())
