"""The page's server, faked: the wire contract in memory, with every fault on demand. No database, one caller.

For the faults of the connection and the API that a real server cannot be told to have. By itself, to work on the page:
`python -m tests.browser 8123`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.browser.fake_chat import FakeChat
from tests.browser.fake_files import page, static
from tests.browser.model import Model

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


class FakeServer:
    """`faults`: what is done instead of answering, once each, by "METHOD kind" (streams, events, stop, sessions).

    `hold`: prompts are taken when it is set. `losing`: seqs that the next viewer to get there is not given.
    `cursors`, `stops`: what was asked for. `until` waits for any of it to change.
    """

    def __init__(self) -> None:
        self.model = Model()
        self.chats: dict[str, FakeChat] = {}
        self.keys: dict[str, Any] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.viewers: list[web.Request] = []
        self.cursors: list[str | None] = []
        self.stops: list[str] = []
        self.ping_seconds = 15.0
        self.pings = 0
        self.losing: set[int] = set()
        self.hold: asyncio.Event | None = None
        self._news = asyncio.Event()
        self.url = ""

        @web.middleware
        async def fault(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._fault(request, handler)

        app = web.Application(middlewares=[fault])
        app.add_routes(
            [
                web.get("/static/{path:.+}", static),
                web.get("/", page),
                web.get("/s/{id}/", page),
                web.get("/api/sessions/", self._list),
                web.post("/api/sessions/", self._create),
                web.get("/api/sessions/{id}/", self._read),
                web.patch("/api/sessions/{id}/", self._rename),
                web.delete("/api/sessions/{id}/", self._delete),
                web.post("/api/sessions/{id}/streams/", self._prompt),
                web.get("/api/sessions/{id}/events/", self._events),
                web.post("/api/sessions/{id}/stop/", self._stop),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)

    async def start(self, port: int = 0) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        for chat in self.chats.values():
            await chat.stop()
        await self._runner.cleanup()

    async def until(self, condition: Callable[[], Any], timeout_seconds: float = 10) -> None:
        """Raises TimeoutError."""
        async with asyncio.timeout(timeout_seconds):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def cut_viewers(self) -> None:
        """As a network does: every open event response is reset."""
        for request in list(self.viewers):
            if request.transport is not None:
                request.transport.abort()

    def refuse(
        self,
        what: str,
        status: int,
        code: str,
        message: str,
        headers: dict[str, str] | None = None,
        after: asyncio.Event | None = None,
    ) -> None:
        """The next request of this kind gets this error; not before `after` is set."""

        async def refusal(request: web.Request) -> web.Response:
            if after is not None:
                self._news.set()
                await after.wait()
            return web.json_response({"error": {"code": code, "message": message}}, status=status, headers=headers)

        self.fail(what, refusal)

    def fail(self, what: str, fault: Fault) -> None:
        """The next request of this kind gets this answer; None: it is cut in the middle."""
        self.faults.setdefault(what, []).append(fault)

    def delay(self, what: str, until: asyncio.Event) -> None:
        """The next request of this kind is not looked at before `until` is set."""

        async def late(request: web.Request) -> web.StreamResponse:
            self._news.set()
            await until.wait()
            return await request.match_info.handler(request)

        self.fail(what, late)

    def new_chat(self, title: str = "A chat") -> FakeChat:
        chat = FakeChat(title, self._news.set)
        self.chats[chat.id] = chat
        return chat

    async def _fault(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        kind = request.path.strip("/").split("/")[-1]
        kind = kind if kind in ("streams", "events", "stop", "sessions") else "session"
        waiting = self.faults.get(f"{request.method} {kind}")
        if not waiting:
            return await handler(request)
        answer = await waiting.pop(0)(request)
        self._news.set()
        if answer is not None:
            return answer
        # Not a bare reset: browsers would send the request again by themselves.
        half = web.StreamResponse(status=202, headers={"Content-Length": "100"})
        await half.prepare(request)
        assert request.transport is not None
        request.transport.close()
        return half

    def _chat(self, request: web.Request) -> FakeChat:
        chat = self.chats.get(request.match_info["id"])
        if chat is None or chat.deleted:
            raise web.HTTPNotFound(
                text=json.dumps({"error": {"code": "not_found", "message": "There is nothing here for you."}}),
                content_type="application/json",
            )
        return chat

    async def _list(self, request: web.Request) -> web.Response:
        search = request.query.get("search", "").lower()
        found = [chat for chat in self.chats.values() if not chat.deleted and search in chat.title.lower()]
        found.sort(key=lambda chat: chat.active_at, reverse=True)
        start = int(request.query.get("before") or 0)
        page = [chat.summary() for chat in found[start : start + 20]]
        return web.json_response({"sessions": page, "next": str(start + 20) if len(found) > start + 20 else None})

    async def _create(self, request: web.Request) -> web.Response:
        assert request.headers["X-CSRFToken"] == request.cookies["csrftoken"]
        chat = self.new_chat((await request.json()).get("title", ""))
        return web.json_response(chat.summary(), status=201)

    async def _read(self, request: web.Request) -> web.Response:
        chat = self._chat(request)
        return web.json_response({**chat.summary(), **chat.snapshot(), "last_seq": chat.head})

    async def _rename(self, request: web.Request) -> web.Response:
        chat = self._chat(request)
        chat.title = (await request.json())["title"]
        await chat.append("chat.session", title=chat.title, deleted=False)
        return web.json_response(chat.summary())

    async def _delete(self, request: web.Request) -> web.Response:
        chat = self._chat(request)
        await chat.stop()
        chat.deleted = True
        await chat.append("chat.session", title=chat.title, deleted=True)
        return web.Response(status=204)

    async def _prompt(self, request: web.Request) -> web.Response:
        chat, body = self._chat(request), await request.json()
        assert body["on_disconnect"] == "continue"
        assert request.headers["Accept"] == "application/json"
        key = request.headers["Idempotency-Key"]
        if self.hold is not None:
            await self.hold.wait()
        if key not in self.keys:
            self.keys[key] = await chat.ask(body["prompt"], self.model)
        return web.json_response(self.keys[key], status=202)

    async def _stop(self, request: web.Request) -> web.Response:
        chat = self._chat(request)
        self.stops.append((await request.json())["stream_id"])
        return web.json_response({"stopped": await chat.stop()})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        chat, after = self._chat(request), request.query.get("after")
        self.cursors.append(after)
        self._news.set()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        self.viewers.append(request)
        try:
            await self._follow(chat, response, after)
        finally:
            self.viewers = [viewer for viewer in self.viewers if viewer is not request]
            self._news.set()
        return response

    async def _follow(self, chat: FakeChat, response: web.StreamResponse, after: str | None) -> None:
        await response.write(b"retry: 1000\n\n")
        if after is None or not chat.first_stored - 1 <= int(after) <= chat.head:
            cursor = chat.head
            reset = {} if after is None else {"reset": True}
            await response.write(frame("snapshot", {**chat.snapshot(), **reset}, cursor))
        else:
            cursor = int(after)
        while True:
            for seq, event, data in chat.log[cursor:]:
                cursor = seq
                if seq in self.losing:
                    self.losing.discard(seq)
                    continue
                await response.write(frame(event, data, seq))
            if chat.deleted:
                return
            try:
                async with asyncio.timeout(self.ping_seconds), chat.news:
                    await chat.news.wait_for(lambda: chat.head > cursor)  # noqa: B023
            except TimeoutError:
                await response.write(frame("ping", {"seq": chat.head}))
                self.pings += 1
                self._news.set()


def frame(event: str, data: dict[str, Any], seq: int | None = None) -> bytes:
    head = "" if seq is None else f"id: {seq}\n"
    return f"{head}event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
