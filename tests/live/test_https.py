"""Behind a proxy that speaks https to the world and http to us."""

import http.client

import pytest

from tests.live.conftest import StartServer


def status_of(port: int, path: str, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    return connection.getresponse().status


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_only_who_came_by_plain_http_is_sent_to_https(start_server: StartServer) -> None:
    server = start_server(env={"HTTPS": "true", "CHAT_PROVIDER_URL": "scripted:"})
    assert status_of(server.port, "/", {}) == 301
    assert status_of(server.port, "/", {"X-Forwarded-Proto": "https"}) == 200
    assert status_of(server.port, "/healthz", {}) == 200
    assert status_of(server.port, "/metrics", {}) == 200
