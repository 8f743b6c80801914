"""`python bare_server.py PORT`: the floor. A socket protocol on uvloop that writes a chunk a token; no HTTP parser."""

import asyncio
import sys
from urllib.parse import parse_qs

import uvloop
from source import tokens as source

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Connection(asyncio.Protocol):
    task = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        query = parse_qs(data.split(b" ", 2)[1].partition(b"?")[2].decode())
        values = float(query["at"][0]), int(query["tokens"][0]), float(query["rate"][0])
        self.task = asyncio.get_running_loop().create_task(self.stream(*values))

    def connection_lost(self, error):
        if self.task is not None:
            self.task.cancel()

    async def stream(self, at, count, rate):
        write = self.transport.write
        write(HEAD)
        async for token in source(at, count, rate):
            frame = f"data: {token}\n\n".encode()
            write(b"%x\r\n%b\r\n" % (len(frame), frame))
        write(b"0\r\n\r\n")


async def main():
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", int(sys.argv[1]), backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
