"""One conversation of the fake server: its log, its messages, and the viewers that follow it."""

import asyncio
import itertools
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.browser.model import Model, ModelFailure

Data = dict[str, Any]


def now() -> str:
    return datetime.now(UTC).isoformat()


class FakeChat:
    """`changed` is called after every event.

    Keeps the order of the wire contract: a stream that starts at once says `thinking` before its prompt.
    """

    def __init__(self, title: str, changed: Callable[[], None]) -> None:
        self._changed = changed
        self.id = str(uuid.uuid4())
        self.title = title
        self.created_at = self.active_at = now()
        self.deleted = False
        self.log: list[tuple[int, str, Data]] = []
        self.first_stored = 1
        self.messages: list[Data] = []
        self.active: Data | None = None
        self.running: asyncio.Task[None] | None = None
        self.reason = "stopped"
        self.news = asyncio.Condition()

    @property
    def head(self) -> int:
        return self.log[-1][0] if self.log else 0

    def summary(self) -> Data:
        return {
            "id": self.id,
            "title": self.title,
            "created_at": self.created_at,
            "active_at": self.active_at,
            "url": f"/s/{self.id}/",
            "active": self.active is not None,
        }

    def snapshot(self) -> Data:
        return {"messages": self.messages, "active_stream": self.active}

    async def append(self, event: str, **data: Any) -> None:
        self.log.append((self.head + 1, event, data))
        async with self.news:
            self.news.notify_all()
        self._changed()

    async def ask(self, text: str, model: Model) -> Data:
        await self.stop("interrupted")
        ids = {"stream_id": str(uuid.uuid4()), "message_id": str(uuid.uuid4())}
        prompt_id, before = str(uuid.uuid4()), self.head
        self.active_at = now()
        self.title = self.title or text.splitlines()[0]
        self.messages.append({"id": prompt_id, "role": "user", "text": text, "state": "completed", "created_at": now()})
        answer: Data = {"id": ids["message_id"], "role": "assistant", "text": "", "state": "thinking"}
        self.messages.append({**answer, "stream_id": ids["stream_id"], "created_at": now()})
        self.active = {**ids, "status": "thinking"}
        await self.append("chat.status", **ids, status="thinking")
        await self.append("chat.prompt", stream_id=ids["stream_id"], message_id=prompt_id, role="user", text=text)
        self.reason = "completed"
        self.running = asyncio.create_task(self._answer(ids, self.messages[-1], text, model))
        return {"stream_id": ids["stream_id"], "message_id": ids["message_id"], "prompt_id": prompt_id, "seq": before}

    async def stop(self, reason: str = "stopped") -> bool:
        if self.running is None or self.running.done():
            return False
        self.reason = reason
        self.running.cancel()
        await asyncio.wait([self.running])
        return True

    async def _answer(self, ids: Data, message: Data, prompt: str, model: Model) -> None:
        count = itertools.count(1)
        tokens = 0
        try:
            async for piece in model.next(prompt).pieces(prompt):
                tokens = next(count)
                if tokens == 1:
                    message["state"] = self.active["status"] = "streaming"  # type: ignore[index]
                    await self.append("chat.status", **ids, status="streaming")
                message["text"] += piece
                await self.append("chat.token", **ids, text=piece)
        except asyncio.CancelledError:
            pass
        except ModelFailure:
            self.active = None
            message.update(state="failed", reason="provider_error")
            await self.append(
                "chat.error", **ids, code="provider_error", message="The model broke off.", retryable=True
            )
            return
        self.active = None
        message.update(state=self.reason, reason=self.reason)
        numbers = {"tokens": tokens, "duration_seconds": 1.5, "first_token_seconds": 0.2}
        await self.append("chat.end", **ids, reason=self.reason, **numbers)
