"""FastAPI that passes on an OpenAI-compatible endpoint's stream, with the official client. OPENAI_BASE_URL names it."""

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI

app = FastAPI()
client = AsyncOpenAI(max_retries=0)


@app.post("/v1/chat/completions")
async def completions(request: Request):
    body = await request.json()

    async def frames():
        stream = await client.chat.completions.create(model=body["model"], messages=body["messages"], stream=True)
        async for chunk in stream:
            yield f"data: {chunk.model_dump_json()}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(frames(), media_type="text/event-stream")
