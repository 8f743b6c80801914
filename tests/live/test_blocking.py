"""What blocks the event loop of a server process fails the test that has started it."""

import os
from pathlib import Path

import pytest

from jarvis_site.asgi.types import Receive, Scope, Send
from tests.live.raw_client import RawClient
from tests.live.server import Runner, running_server


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/listdir":
        os.listdir(".")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def asked_to_block(runner: Runner, data_dir: Path) -> None:
    application = f"{__name__}:application"
    with (
        running_server(runner=runner, application=application, data_dir=data_dir) as server,
        RawClient(server) as client,
    ):
        client.get("/listdir")
        client.read_until(b"HTTP/1.1 500")


@pytest.mark.parametrize("runner", ["serve", "daphne", "uvicorn"])
def test_a_blocking_call_on_the_loop_of_a_server_is_told_with_its_stack(runner: Runner, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"Blocking call to os\.listdir(.|\n)*test_blocking\.py"):
        asked_to_block(runner, tmp_path)
