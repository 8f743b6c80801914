"""How `serve` starts, what it says, and how it stops."""

import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.blocking import assert_nothing_blocked
from tests.live.conftest import StartServer
from tests.live.log_lines import parse
from tests.live.raw_client import RawClient
from tests.live.server import PROJECT, TEST_APPLICATION, Server, environment, wait_until


@pytest.fixture(autouse=True)
def nothing_blocks(tmp_path: Path) -> Iterator[None]:
    yield
    assert_nothing_blocked(tmp_path)


def serve(data_dir: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    command = [sys.executable, "manage.py", "serve", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=PROJECT, env=environment(data_dir, env), stdout=pipe, stderr=pipe, text=True)


def start_fails(data_dir: Path, *arguments: str, **env: str) -> str:
    with serve(data_dir, *arguments, **{"PORT": "0", **env}) as process:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], 60)  # at its end, which is all that may come
        process.kill()
        output, error = process.communicate()
    assert readable
    assert process.returncode == 1
    assert output == ""
    assert "Traceback" not in error
    return error


def cleanups(server: Server) -> int:
    path = server.data_dir / "tick.cleanup"
    return path.read_text().count("cleanup_done") if path.exists() else 0


def viewers(stack: ExitStack, server: Server, count: int) -> list[RawClient]:
    clients = [stack.enter_context(RawClient(server)) for _ in range(count)]
    for client in clients:
        client.get("/ticks")
        client.read_until(b"tick")
    return clients


def refuses_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it waited to be accepted when the port was closed
        pass
    return False


# --- starting


def test_two_that_start_at_once_on_an_empty_directory_are_both_ready_at_the_ports_they_name(tmp_path: Path) -> None:
    with serve(tmp_path, "--port", "0") as first, serve(tmp_path, PORT="0") as second:
        for process in (first, second):
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.fullmatch(r"Jarvis is ready at http://127\.0\.0\.1:(\d+)/\n", line)
            assert match, f"{line!r} {process.poll()}"
            socket.create_connection(("127.0.0.1", int(match[1]))).close()
        for process in (first, second):
            process.terminate()
            assert process.wait(30) == 0


def test_a_port_in_use_is_one_clear_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = start_fails(tmp_path, PORT=str(port))
    assert error.count("\n") == 1
    assert f"port {port}" in error
    assert "in use" in error


@pytest.mark.parametrize(
    ("name", "value"),
    [("HOST", "no.such.host.invalid"), ("HOST", "192.0.2.1"), ("LOG_LEVEL", "LOUD"), ("PORT", "65536")],
)
def test_a_wrong_setting_is_named(tmp_path: Path, name: str, value: str) -> None:
    assert value in start_fails(tmp_path, **{name: value})


def test_a_descriptor_that_does_not_listen_is_refused(tmp_path: Path) -> None:
    assert "--fd 0" in start_fails(tmp_path, "--fd", "0")


def test_several_processes_listen_on_one_descriptor(start_server: StartServer) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        first = start_server(application=TEST_APPLICATION, listener=listener)
        second = start_server(application=TEST_APPLICATION, listener=listener)
        assert first.port == second.port
        assert first.stop() == 0
        with RawClient(second) as client:
            client.get("/ok")
            client.read_until(b"size=0")


def test_a_burst_is_accepted_by_the_kernel_while_the_process_is_busy(tmp_path: Path) -> None:
    with serve(tmp_path, PORT="0") as process, ExitStack() as stack:
        assert process.stdout is not None
        port = int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
        process.send_signal(signal.SIGSTOP)
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=0.5))
        process.kill()


def test_ipv6_is_served_and_named(tmp_path: Path) -> None:
    with serve(tmp_path, HOST="::1", PORT="0") as process:
        assert process.stdout is not None
        assert re.fullmatch(r"Jarvis is ready at http://\[::1\]:\d+/\n", process.stdout.readline())
        process.terminate()


def test_daphnes_loop_is_uvloops_and_no_other_is(tmp_path: Path) -> None:
    """The order in which Django's apps are imported decides."""
    code = (
        "import asyncio; from daphne.server import twisted_loop;"
        "print(type(twisted_loop).__module__, type(asyncio.new_event_loop()).__module__)"
    )
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", code]
    done = subprocess.run(
        command, cwd=PROJECT, env=environment(tmp_path, {}), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["uvloop", "asyncio.unix_events"]


# --- stopping


def test_every_cleanup_runs_though_a_half_sent_request_is_open(start_server: StartServer) -> None:
    server = start_server(application=TEST_APPLICATION, env={"SHUTDOWN_GRACE_SECONDS": "0.5"})
    with ExitStack() as stack, RawClient(server) as half:
        half.send(b"GET /ok HTTP/1.1\r\nHost: localhost\r\n")
        clients = viewers(stack, server, 3)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 5
        assert cleanups(server) == 3
        assert half.read_to_end().startswith(b"HTTP/1.1 503 ")
        assert b"shutting_down" in half.received
        assert not clients[0].read_to_end().endswith(b"0\r\n\r\n"), "a stream that is cut must not look whole"
    assert "Traceback" not in server.log_text() + server.error_text()


def test_connections_without_a_request_delay_nothing(start_server: StartServer) -> None:
    server = start_server(application=TEST_APPLICATION)
    with RawClient(server) as fresh, RawClient(server) as kept_alive:
        kept_alive.get("/ok")
        kept_alive.read_until(b"0\r\n\r\n")
        assert server.stop() == 0
        times = {
            event: datetime.fromisoformat(time) for time, _, event, _ in map(parse, server.log_text().splitlines())
        }
        assert times["server_stopped"] - times["server_draining"] < timedelta(seconds=0.9)
        assert fresh.read_to_end() == b""


def test_what_was_begun_is_answered_and_nothing_new_is_accepted(start_server: StartServer) -> None:
    server = start_server(application=TEST_APPLICATION)
    with RawClient(server) as client:
        client.get("/slow")
        client.get("/ok")  # sent behind the first on the same connection: too late
        wait_until(lambda: not select.select([client._socket], [], [], 0.1)[0])
        server.process.terminate()
        wait_until(lambda: refuses_connections(server.port))
        assert client.read_to_end().count(b"size=0") == 1
        assert server.wait() == 0


def test_a_second_interrupt_waits_for_the_cleanup_only(start_server: StartServer) -> None:
    server = start_server(application=TEST_APPLICATION, env={"SHUTDOWN_GRACE_SECONDS": "60"})
    with ExitStack() as stack:
        viewers(stack, server, 2)
        server.process.send_signal(signal.SIGINT)
        wait_until(lambda: "server_draining" in server.log_text())
        server.process.terminate()  # from the supervisor, which heard the first interrupt too
        with pytest.raises(subprocess.TimeoutExpired):
            server.wait(0.5)
        started = time.monotonic()
        assert server.stop(signal.SIGINT) == 0
        assert time.monotonic() - started < 5
        assert cleanups(server) == 2


@pytest.mark.parametrize("runner", ["daphne", "uvicorn"])
def test_the_site_runs_under_other_servers(start_server: StartServer, runner: str) -> None:
    server = start_server(runner=runner)
    with RawClient(server) as client:
        client.get("/healthz")
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
