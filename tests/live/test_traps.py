"""What plain Daphne lets a client or a failing view do to all others, against our server."""

import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from tests.live.conftest import StartServer
from tests.live.raw_client import RawClient
from tests.live.server import TEST_APPLICATION, Server, wait_until

MEBIBYTE = 1 << 20
TRIES = 4


def status_of(server: Server, path: str) -> int:
    with RawClient(server, timeout_seconds=5) as client:
        client.get(path)
        return int(client.read_until(b"\r\n").split()[1])


def test_a_failure_in_mid_stream_is_seen_and_stops_nothing(served: Server) -> None:
    for _ in range(3):
        with RawClient(served) as client:
            client.get("/fail-after")
            assert client.read_to_end().endswith(b"data: half\n\n\r\n"), "no last chunk: the client sees that it is cut"
    assert status_of(served, "/fail-before") == 500
    assert status_of(served, "/ok") == 200


def test_a_failure_of_an_unguarded_application_stops_nothing(start_server: StartServer) -> None:
    server = start_server(application="tests.live.apps:unguarded")
    with RawClient(server) as client:
        client.get("/fail-after")
        assert client.read_to_end().endswith(b"data: half\n\n\r\n")
    assert status_of(server, "/fail-before") == 500
    assert status_of(server, "/fail-before") == 500


def test_a_response_that_ends_with_the_connection_is_reset_when_it_fails(served: Server) -> None:
    with RawClient(served) as client:
        client.get("/fail-after", version="1.0")
        client.read_to_end()
        assert client.was_reset


def test_a_response_that_is_never_finished_is_finished(served: Server) -> None:
    with RawClient(served) as client:
        client.get("/unfinished")
        assert client.read_until(b"0\r\n\r\n").endswith(b"data: half\n\n\r\n0\r\n\r\n")


def test_a_header_that_is_no_bytes_is_a_500_at_once(served: Server) -> None:
    started = time.monotonic()
    assert status_of(served, "/text-header") == 500
    assert time.monotonic() - started < 0.5


def test_a_large_form_stalls_no_stream(start_server: StartServer) -> None:
    server = start_server(application=TEST_APPLICATION, env={"CHAT_MAX_BODY_BYTES": str(16 * MEBIBYTE)})
    form = b"&".join(b"field%d=value" % number for number in range(10 * MEBIBYTE // 14))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    gaps, answers = [], []

    def post() -> None:
        with urllib.request.urlopen(urllib.request.Request(f"{server.url}/ok", form, headers)) as response:
            answers.append(response.read())

    with RawClient(server) as viewer:
        viewer.get("/ticks")
        viewer.read_until(b"tick")
        for _ in range(TRIES):
            posting = threading.Thread(target=post)
            posting.start()
            gap = 0.0
            while posting.is_alive():
                gap = max(gap, viewer.largest_gap(until=time.monotonic() + 0.05))
            gaps.append(gap)
    assert all(answer.startswith(b"size=%d " % len(form)) for answer in answers)
    assert len(answers) == TRIES
    # Parsing takes 5 s, every time; what a busy machine does to one try, it does not do to all.
    assert min(gaps) < 0.1, gaps


def test_who_does_not_read_costs_little_and_is_cut(served: Server) -> None:
    before = served.memory_bytes()
    with RawClient(served) as client:
        client.get(f"/flood?bytes={500 * MEBIBYTE}")
        client.read_until(b"xxx")
        wait_until(lambda: "connection_cut" in served.log_text(), timeout_seconds=10)
        assert served.memory_bytes() - before < 20 * MEBIBYTE
    assert "Traceback" not in served.log_text().rpartition("connection_cut")[2]


def test_who_reads_slowly_gets_everything(served: Server) -> None:
    size = 8 * MEBIBYTE
    with RawClient(served, receive_buffer_bytes=65536) as client:  # else the kernel reads for it, in large lumps
        client.get(f"/flood?bytes={size}")
        client.read_slowly(400 << 10, seconds=4)  # four times SEND_TIMEOUT_SECONDS
        client.read_until(b"\r\n0\r\n\r\n")
    assert client.received.count(b"x") >= size


def test_a_response_without_a_pause_lets_others_run(served: Server) -> None:
    with RawClient(served) as viewer, RawClient(served) as greedy:
        viewer.get("/ticks")
        viewer.read_until(b"tick")
        greedy.get("/burst?count=200000")
        reading = threading.Thread(target=greedy.read_until, args=(b"\r\n0\r\n\r\n",))
        reading.start()
        gap = viewer.largest_gap(until=time.monotonic() + 2)
        reading.join()
    assert gap < 0.5


def test_400_connections_at_once_are_all_answered(served: Server) -> None:
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=400) as pool:
        answers = list(pool.map(lambda _: status_of(served, "/ok"), range(400)))
    assert answers == [200] * 400
    assert time.monotonic() - started < 5, "SYN retries take seconds"


def test_no_client_chooses_the_root_path(served: Server) -> None:
    with RawClient(served) as client:
        client.get("/ok", "Daphne-Root-Path: /evil")
        assert b"root_path='' path=/ok" in client.read_until(b"root_path")


def test_an_upgrade_to_websocket_is_an_ordinary_request(served: Server) -> None:
    with RawClient(served) as client:
        client.get("/ok", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
        assert client.read_until(b"size=0").startswith(b"HTTP/1.1 200")


def test_head_has_no_body(served: Server) -> None:
    with RawClient(served) as client:
        client.send(
            b"HEAD /burst?count=3 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /ok HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        assert b"data:" not in client.read_until(b"size=0")
