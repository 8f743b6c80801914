"""The scripted `Model` behind OpenAI's API, for a real server to ask. `model` may be replaced at any time."""

import json
from typing import Any

from aiohttp import web

from tests.browser.model import Model, ModelFailure


class ModelEndpoint:
    """`url` is what CHAT_PROVIDER_URL is set to."""

    def __init__(self) -> None:
        self.model = Model()
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        self.url = ""

    async def start(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "scripted", "object": "model"}]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        speech = self.model.next(body["messages"][-1]["content"])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            async for piece in speech.pieces(body["messages"][-1]["content"]):
                await response.write(_frame({"content": piece}))
        except ModelFailure:
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write(_frame({}, finish_reason="stop"))
        await response.write(b"data: [DONE]\n\n")
        return response


def _frame(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "scripted"}
    return f"data: {json.dumps({**head, 'choices': [choice]})}\n\n".encode()
