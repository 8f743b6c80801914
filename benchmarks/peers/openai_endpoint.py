"""`python openai_endpoint.py PORT`: an OpenAI-compatible endpoint that streams `at=…&tokens=…&rate=…`, its last prompt.

Cheap, since it shares its core with the client: one protocol on uvloop, chunks made by hand, answers end with theirs.
"""

import asyncio
import json
import sys
from urllib.parse import parse_qs

import uvloop
from source import tokens as source

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
MODELS = json.dumps({"object": "list", "data": [{"id": "bench", "object": "model", "created": 0, "owned_by": "x"}]})
CHUNK = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"bench",'
    '"choices":[{"index":0,"delta":%s,"finish_reason":%s}]}\n\n'
)
USAGE = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"bench","choices":[],'
    '"usage":{"prompt_tokens":1,"completion_tokens":%d,"total_tokens":%d}}\n\n'
)


class Connection(asyncio.Protocol):
    task = None
    buffer = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        if head.startswith(b"GET"):
            self.buffer = b""
            self.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                % (len(MODELS), MODELS.encode())
            )
            return
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l"))
        if len(body) >= length:
            self.buffer = body[length:]
            closes = b"\r\nconnection: close" in head.lower()
            self.task = asyncio.get_running_loop().create_task(self.answer(json.loads(body[:length]), closes))

    def connection_lost(self, error):
        if self.task is not None:
            self.task.cancel()

    async def answer(self, body, closes):
        prompt = body["messages"][-1]["content"]
        if isinstance(prompt, list):  # content parts
            prompt = prompt[0]["text"]
        query = parse_qs(prompt)
        at, count, rate = float(query["at"][0]), int(query["tokens"][0]), float(query["rate"][0])
        self.transport.write(HEAD)
        self.chunk(CHUNK % ('{"role":"assistant","content":""}', "null"))
        async for token in source(at, count, rate):
            self.chunk(CHUNK % (f'{{"content":"{token}"}}', "null"))
        self.chunk(CHUNK % ("{}", '"stop"'))
        if (body.get("stream_options") or {}).get("include_usage"):
            self.chunk(USAGE % (count, count + 1))
        self.chunk("data: [DONE]\n\n")
        self.transport.write(b"0\r\n\r\n")
        if closes:
            self.transport.close()

    def chunk(self, text):
        data = text.encode()
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))


async def main():
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", int(sys.argv[1]), backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
