"""One connection of the scripted endpoint: reads requests, one after the other, and answers each as its script says."""

import asyncio
import json
import socket
import struct
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

from tests.scripted_answers import FAULTS, REFUSALS, Act, Script, parts, token_frame, whole

if TYPE_CHECKING:
    from tests.scripted_endpoint import ScriptedEndpoint

BURST_TOKENS = 200  # of an unpaced answer in one pass of the loop
EVENT_STREAM = "text/event-stream; charset=utf-8"


@dataclass
class Record:
    """What happened to one chat completion; times are monotonic seconds, None until it happened."""

    prompt: str
    body: dict[str, Any]
    headers: dict[str, str]
    accepted_at: float = field(default_factory=time.monotonic)
    tokens_sent: int = 0
    first_token_at: float | None = None
    finished_at: float | None = None  # everything was sent
    closed_at: float | None = None


class Answer:
    """One streamed answer under way."""

    def __init__(self, connection: "Connection", script: Script, record: Record) -> None:
        self.connection = connection
        self.script = script
        self.record = record
        self.starts_at = record.accepted_at + script.first_delay
        self._parts = parts(script)
        self._next = next(self._parts)
        self._unsent = bytearray(http_head(200, EVENT_STREAM, chunked=True))

    @property
    def hurries(self) -> bool:
        """Whether it wants every pass of the loop, not the next tick."""
        return not self.script.rate and not self.connection.paused

    def advance(self, now: float) -> bool:
        """Write what is due; False when nothing will ever be due again."""
        if now < self.starts_at or self.connection.paused:
            return True
        if len(self._unsent) <= self.script.slice or not self.script.slice:
            self._gather(now)
        size = self.script.slice or len(self._unsent)
        if self._unsent:
            self.connection.write(bytes(self._unsent[:size]))
            del self._unsent[:size]
        if self._unsent or not isinstance(self._next, Act):
            return True
        if self._next is Act.END:
            self.record.finished_at = time.monotonic()
        self.connection.answered(self, self._next)
        return False

    def _gather(self, now: float) -> None:
        rate = self.script.rate
        due = int((now - self.starts_at) * rate) + 1 if rate else self.record.tokens_sent + BURST_TOKENS
        while not isinstance(self._next, Act):
            part = self._next
            if isinstance(part, int):
                if self.record.tokens_sent >= due:
                    return
                self.record.tokens_sent += 1
                self.record.first_token_at = self.record.first_token_at or time.monotonic()
                part = token_frame(self.script, part)
            self._unsent += b"%x\r\n%b\r\n" % (len(part), part)
            self._next = next(self._parts)
            if self._next is Act.END:
                self._unsent += b"0\r\n\r\n"


class Connection(asyncio.Protocol):
    """Reads requests, one after the other, and answers each."""

    def __init__(self, endpoint: "ScriptedEndpoint") -> None:
        self.endpoint = endpoint
        self.paused = False
        self.received = bytearray()
        self.records: list[Record] = []
        self.later: list[asyncio.TimerHandle] = []
        self.answering: Answer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none
        self.endpoint.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        now = time.monotonic()
        for record in self.records:
            record.closed_at = now
        for handle in self.later:
            handle.cancel()
        self.endpoint.connections.discard(self)
        if self.answering:
            self.answered(self.answering, Act.CLOSE)
        self.endpoint.changed()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, blank, body = bytes(self.received).partition(b"\r\n\r\n")
        if not blank:
            return
        request, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        if len(body) < size:
            return
        del self.received[: len(head) + 4 + size]
        method, path, _ = request.split(" ")
        self.handle(method, path, headers, body[:size])

    def handle(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        if path == "/_record":
            records = [asdict(record) for record in self.endpoint.records]
            if method == "DELETE":
                self.endpoint.records.clear()
            self.reply(200, "application/json", json.dumps({"now": time.monotonic(), "records": records}).encode())
        elif path == "/v1/models":
            models = [
                {"id": name, "object": "model", "created": 1, "owned_by": "tests"} for name in self.endpoint.models
            ]
            self.reply(200, "application/json", json.dumps({"object": "list", "data": models}).encode())
        elif method == "POST" and path == "/v1/chat/completions":
            self.complete(json.loads(body), headers)
        else:
            self.reply(404, "application/json", b'{"error":{"message":"no such address"}}')

    def complete(self, body: dict[str, Any], headers: dict[str, str]) -> None:
        prompts = [message["content"] for message in body["messages"] if message["role"] == "user"]
        prompt = prompts[-1] if prompts else ""
        asked = [text for text in (prompt, body.get("model", "")) if str(text).startswith("scripted:?")]
        script = Script.parse(asked[0]) if asked else self.endpoint.script
        record = Record(prompt, body, headers)
        self.records.append(record)
        self.endpoint.records.append(record)
        self.endpoint.changed()
        if script.fault == "hang":
            return
        if script.fault in ("drop", "not_http") or script.fault in REFUSALS or not body.get("stream"):
            seconds = script.first_delay + (script.tokens / script.rate if script.rate else 0)
            loop = asyncio.get_running_loop()
            self.later.append(loop.call_later(seconds, self.reply_whole, script, record))
        else:
            assert not script.fault or script.fault in FAULTS, script.fault
            self.answering = Answer(self, script, record)
            self.endpoint.begin(self.answering)

    def reply_whole(self, script: Script, record: Record) -> None:
        if script.fault == "drop":
            self.end(Act.CLOSE)
        elif script.fault == "not_http":
            self.write(b"\x15\x03\x01\x00\x02\x02\x50 what?\r\n\r\n")
        else:
            status, kind, body = REFUSALS.get(script.fault) or (200, "application/json", whole(script))
            self.reply(status, kind, body, {"Retry-After": script.retry_after, "Location": "/elsewhere"})
            record.finished_at = time.monotonic()
        self.endpoint.changed()

    def reply(self, status: int, kind: str, body: bytes, headers: dict[str, Any] | None = None) -> None:
        self.write(http_head(status, kind, size=len(body), headers=headers) + body)

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def answered(self, answer: Answer, act: Act) -> None:
        self.answering = None
        self.endpoint.running.discard(answer)
        closes = act is Act.END and answer.record.headers.get("connection") == "close"
        self.end(Act.CLOSE if closes else act)
        self.endpoint.changed()

    def end(self, act: Act) -> None:
        if act is Act.RESET:
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            asyncio.get_running_loop().call_later(0.05, self.transport.abort)  # what was written goes out before
        elif act is Act.CLOSE:
            self.transport.close()


def http_head(
    status: int, kind: str, *, size: int = 0, chunked: bool = False, headers: dict[str, Any] | None = None
) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Type: {kind}"]
    lines += ["Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode()
