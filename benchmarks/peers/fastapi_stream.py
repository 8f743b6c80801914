"""What most people write: a StreamingResponse, a frame a token. `/watch` shares one stream through queues."""

import asyncio
from collections import defaultdict

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from source import tokens as source

app = FastAPI()
queues = defaultdict(set)
running = set()


@app.get("/stream")
async def stream(at: float, tokens: int, rate: float):
    async def frames():
        async for token in source(at, tokens, rate):
            yield f"data: {token}\n\n"

    return StreamingResponse(frames(), media_type="text/event-stream")


@app.get("/watch")
async def watch(channel: str):
    async def frames():
        queue = asyncio.Queue()
        queues[channel].add(queue)
        try:
            while True:
                yield f"data: {await queue.get()}\n\n"
        finally:
            queues[channel].discard(queue)

    return StreamingResponse(frames(), media_type="text/event-stream")


@app.get("/start")
async def start(channel: str, at: float, tokens: int, rate: float):
    async def publish():
        async for token in source(at, tokens, rate):
            for queue in queues[channel]:
                queue.put_nowait(token)

    task = asyncio.create_task(publish())
    running.add(task)
    task.add_done_callback(running.discard)
    return {}
