"""`python -m tests.browser [PORT]`: the fake server by itself, to work on the page with; it echoes every prompt."""

import asyncio
import sys

import django

django.setup()

from tests.browser.fake_server import FakeServer  # noqa: E402 needs the apps


async def serve(port: int) -> None:
    server = FakeServer()
    await server.start(port)
    print(server.url, flush=True)  # noqa: T201 whoever started it waits for this line
    await asyncio.get_running_loop().create_future()


asyncio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
