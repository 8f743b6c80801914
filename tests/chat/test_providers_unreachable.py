"""An endpoint that is not there, or does not answer the door, is told with what to do."""

import socket

import pytest

from chat.providers.openai_compatible import Endpoint, OpenAICompatibleProvider
from chat.stream_state import EndReason
from tests.chat.heard import failure


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("http://127.0.0.1:{port}/v1", "provider_unavailable", "cannot be reached"),
        ("http://no-such-host.invalid/v1", "provider_unavailable", "cannot be reached"),
        ("http://[::1/v1", "provider_error", "CHAT_PROVIDER_URL"),
        ("ftp://127.0.0.1/v1", "provider_error", "CHAT_PROVIDER_URL"),
        ("http:///v1", "provider_error", "CHAT_PROVIDER_URL"),
    ],
)
async def test_an_endpoint_that_is_not_there(url: str, code: str, words: str) -> None:
    provider = OpenAICompatibleProvider(
        Endpoint(url.format(port=free_port()), "k", "m"), connect_seconds=2, idle_seconds=2
    )
    error, _ = await failure(provider, "hello")
    await provider.aclose()
    assert error.code == code
    assert words in error.message


async def test_an_endpoint_that_accepts_nothing_is_given_up() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        queued = [socket.socket() for _ in range(4)]  # more than the backlog takes: the next SYN is dropped
        for connection in queued:
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
        impatient = OpenAICompatibleProvider(
            Endpoint(f"http://127.0.0.1:{port}/v1", "", "m"), connect_seconds=0.2, idle_seconds=5
        )
        error, _ = await failure(impatient, "hello")
        await impatient.aclose()
        for connection in queued:
            connection.close()
    assert error.code is EndReason.PROVIDER_UNAVAILABLE
    assert "within 0.2 s" in error.message
