"""A session as a viewer knows it: a snapshot, and every event since folded onto it. Pure; knows the wire only."""

from copy import deepcopy
from itertools import zip_longest
from typing import Any

from tests.history import TERMINAL, Seen

_STATES = {
    "completed": "completed",
    "length": "completed",
    "stopped": "stopped",
    "disconnected": "stopped",
    "shutdown": "stopped",
    "interrupted": "interrupted",
}


class Transcript:
    """`messages` and `active_stream` as in a snapshot; what events do not tell (`created_at`) is left out."""

    def __init__(self, snapshot: dict[str, Any] | None = None) -> None:
        known = deepcopy(snapshot or {"messages": [], "active_stream": None})
        self.messages: list[dict[str, Any]] = [
            {name: value for name, value in message.items() if name != "created_at"} for message in known["messages"]
        ]
        self.active_stream: dict[str, str] | None = known["active_stream"]
        self._said: dict[str, tuple[str, str]] = {}  # of a stream whose prompt has not come: its answer's id, status

    def differences(self, other: "Transcript") -> list[str]:
        """What is here and not in the other; nothing if they are equal."""
        pairs = zip_longest(self._shown(), other._shown())
        return [f"{mine} instead of {theirs}" for mine, theirs in pairs if mine != theirs]

    def take(self, seen: Seen) -> None:
        data = seen.data
        if seen.type == "chat.status":
            self._status(data["stream_id"], data["message_id"], data["status"])
        elif seen.type == "chat.prompt":
            self._prompt(data["stream_id"], data["message_id"], data["text"])
        elif seen.type == "chat.token":
            self._message(data["message_id"])["text"] += data["text"]
        elif seen.type in TERMINAL:
            self._end(data["stream_id"], data["message_id"], data.get("reason") or data["code"])
        elif seen.type == "chat.removed":
            self._remove(data["message_ids"])

    def _status(self, stream_id: str, message_id: str, status: str) -> None:
        known = self._find(message_id)
        if known is None:
            self._said[stream_id] = (message_id, status)
        else:
            known["state"] = status
        if status == "thinking" or (self.active_stream and self.active_stream["stream_id"] == stream_id):
            self.active_stream = {"stream_id": stream_id, "message_id": message_id, "status": status}

    def _prompt(self, stream_id: str, prompt_id: str, text: str) -> None:
        prompt = {"id": prompt_id, "role": "user", "text": text, "state": "completed"}
        if self.messages:
            prompt["parent_id"] = self.messages[-1]["id"]
        self.messages.append(prompt)
        if stream_id in self._said:
            message_id, status = self._said.pop(stream_id)
            self._answer(stream_id, message_id, status)

    def _answer(self, stream_id: str, message_id: str, status: str) -> dict[str, Any]:
        answer = {"id": message_id, "role": "assistant", "text": "", "state": status, "stream_id": stream_id}
        answer["parent_id"] = self.messages[-1]["id"]
        self.messages.append(answer)
        return answer

    def _end(self, stream_id: str, message_id: str, reason: str) -> None:
        answer = self._find(message_id) or self._answer(stream_id, message_id, "")
        answer.update(state=_STATES.get(reason, "failed"), reason=reason)
        if self.active_stream and self.active_stream["stream_id"] == stream_id:
            self.active_stream = None

    def _remove(self, message_ids: list[str]) -> None:
        """What hung on a removed message hangs on the one before it."""
        kept: list[dict[str, Any]] = []
        for message in self.messages:
            if message["id"] in message_ids:
                continue
            if message.get("parent_id") in message_ids:
                message.pop("parent_id")
                if kept:
                    message["parent_id"] = kept[-1]["id"]
            kept.append(message)
        self.messages = kept

    def _message(self, message_id: str) -> dict[str, Any]:
        found = self._find(message_id)
        assert found is not None, f"text of a message that nobody announced: {message_id}"
        return found

    def _find(self, message_id: str) -> dict[str, Any] | None:
        return next((message for message in self.messages if message["id"] == message_id), None)

    def _shown(self) -> list[Any]:
        return [*self.messages, self.active_stream]
