"""`make cluster`: nginx before two web processes, on Redis and PostgreSQL, as in `docs/deployment.md`."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.request import urlopen

import aiohttp
import pytest

from jarvis_site.cluster.nginx import SETUP_DIR, nginx_command, write_config
from tests.blocking import assert_nothing_blocked
from tests.live.server import environment
from tests.server_process import PROJECT_DIR, eventually, processes_of, program
from tests.services import TcpServer

NGINX_PLACES = [Path("/usr/sbin")]
TOKENS = '"text":"(⟨[^"]*)"'.encode()
PACE = "scripted:?tokens=60&rate=60"  # long enough to be interrupted, and short


class RunningCluster(TcpServer):
    def __exit__(self, *error: object) -> None:
        """Asked first: it has a folder to remove."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
        super().__exit__(*error)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "jarvis_site.cluster"]

    def environment(self) -> dict[str, str]:
        return environment(self.folder, {"CLUSTER_PORT": str(self.port), "CHAT_PROVIDER_URL": PACE})

    def is_ready(self) -> bool:
        return f"Everything is ready. Open {self.url}/" in self.output()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return self._said(r"API key +(jv-\S+)")

    @property
    def files(self) -> Path:
        return Path(self._said(r"is in (\S+)/,"))

    def pid_of(self, name: str) -> int:
        return int(self._said(rf"^  {name}, pid (\d+)$"))

    def _said(self, pattern: str) -> str:
        found = re.search(pattern, self.output(), flags=re.MULTILINE)
        assert found, self.output()
        return found[1]


@pytest.fixture(scope="module")
def running() -> Iterator[RunningCluster]:
    with RunningCluster() as running:
        yield running
        assert_nothing_blocked(running.folder)


@pytest.fixture(scope="module")
def key(running: RunningCluster) -> str:
    return running.key


@pytest.fixture
async def http(running: RunningCluster, key: str) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}
    async with aiohttp.ClientSession(running.url, headers=headers) as http:
        yield http


async def new_session(http: aiohttp.ClientSession) -> str:
    async with http.post("/api/sessions/", json={}) as response:
        return str((await response.json())["id"])


def test_check_streaming_passes_through_nginx(running: RunningCluster, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check_streaming", "--url", running.url, "--iterations", "3"],
        cwd=PROJECT_DIR,
        env=environment(tmp_path, {}),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "ALL TESTS PASSED" in done.stdout


async def test_tokens_pass_nginx_one_by_one_and_so_does_the_clients_leaving(http: aiohttp.ClientSession) -> None:
    """The model says three tokens and then nothing: were they held back until the end, none would ever come."""
    session = await new_session(http)
    seen = b""
    async with asyncio.timeout(20):
        prompt = {"prompt": "scripted:?hang_after=3&rate=50"}
        async with http.post(f"/api/sessions/{session}/streams/", json=prompt) as response:
            while seen.count("⟩".encode()) < 3:
                seen += await response.content.readany()
            response.close()
        reason = None
        while reason is None:
            async with http.get(f"/api/sessions/{session}/") as response:
                reason = (await response.json())["messages"][-1].get("reason")
    assert b"chat.end" not in seen
    assert reason == "disconnected"


async def test_what_one_process_streams_is_watched_on_the_other(http: aiohttp.ClientSession) -> None:
    """Eight viewers at once: nginx gives each the emptier process, so both have some."""
    session = await new_session(http)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        watching = [tasks.create_task(watch(http, session)) for _ in range(8)]
        async with http.post(f"/api/sessions/{session}/streams/", json={"prompt": PACE}) as response:
            streamed = await response.read()
    texts = {task.result() for task in watching}
    assert texts == {tokens(streamed)}
    assert texts != {b""}


async def watch(http: aiohttp.ClientSession, session: str) -> bytes:
    seen = b""
    async with http.get(f"/api/sessions/{session}/events/?after=0") as response:
        while b"event: chat.end" not in seen:
            seen += await response.content.readany()
    return tokens(seen)


def tokens(frames: bytes) -> bytes:
    return b"".join(re.findall(TOKENS, frames))


def test_metrics_are_each_processs_own_and_nginx_tells_none(running: RunningCluster) -> None:
    asked = subprocess.run(["curl", "-s", "-m", "5", f"{running.url}/metrics"], check=True, capture_output=True)
    assert b"404 Not Found" in asked.stdout
    assert b"jarvis_viewers" not in asked.stdout


def test_a_killed_process_is_started_again_and_hardly_missed(running: RunningCluster) -> None:
    os.kill(running.pid_of("web-1"), signal.SIGKILL)
    for _ in range(20):
        subprocess.run(["curl", "-sf", "-m", "5", f"{running.url}/healthz"], check=True, capture_output=True)
    eventually(lambda: "web-1 has ended (signal 9) and is started again" in running.output(), "web-1 again")


def test_ctrl_c_ends_all_and_leaves_nothing() -> None:
    with RunningCluster() as running:
        assert running.process is not None
        pids, files = processes_of(running.process.pid), running.files
        assert files.is_dir()
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) == 0
        assert "Traceback" not in running.output()
    assert not files.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_port_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = subprocess.run(
            [sys.executable, "-m", "jarvis_site.cluster"],
            cwd=PROJECT_DIR,
            env=os.environ | {"CLUSTER_PORT": port},
            capture_output=True,
            text=True,
        )
    assert told.returncode == 1
    assert told.stderr.startswith(f"Cannot listen on 127.0.0.1, port {port}")
    assert told.stderr.endswith("Choose another with CLUSTER_PORT.\n")


# --- the nginx files of a deployment


class Nginx(TcpServer):
    def __init__(self, web_port: int) -> None:
        super().__init__()
        self.folder.chmod(0o711)
        write_config(self.folder, self.port, [web_port])

    def command(self) -> list[str]:
        return nginx_command(program("nginx", "nginx", NGINX_PLACES), self.folder)


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers that it was sent."""

    def do_GET(self) -> None:
        body = str(self.headers).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_what_clients_say_of_themselves_is_overwritten() -> None:
    lies = ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "Forwarded: for=6.6.6.6"]
    lies += ["X-Real-IP: 6.6.6.6", "Daphne-Root-Path: /evil", "X_Forwarded_Proto: https", "X-Forwarded-Port: 666"]
    with HTTPServer(("127.0.0.1", 0), Echo) as echo, Nginx(echo.server_port) as nginx:
        Thread(target=echo.serve_forever, daemon=True).start()
        options = [word for lie in lies for word in ("-H", lie)]
        url = f"http://127.0.0.1:{nginx.port}/"
        got = subprocess.run(["curl", "-sf", *options, url], capture_output=True, text=True, check=True).stdout
        echo.shutdown()
    said = dict(line.split(": ", 1) for line in got.lower().splitlines() if line)
    assert said["host"] == f"127.0.0.1:{nginx.port}"
    assert said["x-forwarded-for"] == "127.0.0.1"
    assert said["x-forwarded-proto"] == "http"
    assert "6.6.6.6" not in got
    assert "evil" not in got
    assert "666" not in got


class OneWordAtATime(BaseHTTPRequestHandler):
    """Says the second word only once the first has been heard; does not ask for it to be passed on, as Jarvis does."""

    heard = Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"first")
        self.heard.wait(10)
        self.wfile.write(b"second")

    def log_message(self, *_: object) -> None:
        pass


def test_nginx_itself_holds_nothing_back() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), OneWordAtATime) as server, Nginx(server.server_port) as nginx:
        Thread(target=server.serve_forever, daemon=True).start()
        with urlopen(f"http://127.0.0.1:{nginx.port}/", timeout=5) as response:
            assert response.read(5) == b"first"
            OneWordAtATime.heard.set()
            assert response.read() == b"second"
        server.shutdown()


def test_when_no_process_answers_the_refusal_has_the_form_of_all_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = free.getsockname()[1]
    with Nginx(nobody) as nginx:
        url = f"http://127.0.0.1:{nginx.port}/api/sessions/"
        got = subprocess.run(["curl", "-si", "-d", "{}", url], capture_output=True, text=True, check=True).stdout
    assert got.startswith("HTTP/1.1 503")
    assert "\nRetry-After: 2\n" in got
    assert '{"error":{"code":"overloaded"' in got


def test_debians_nginx_takes_the_site_of_the_documentation(tmp_path: Path) -> None:
    certificate = ["-keyout", str(tmp_path / "privkey.pem"), "-out", str(tmp_path / "fullchain.pem")]
    subject = ["-days", "1", "-subj", "/CN=chat.example.com"]
    openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run([*openssl, *certificate, *subject], check=True, capture_output=True)
    shutil.copy(SETUP_DIR / "jarvis-proxy.conf", tmp_path)
    site = (SETUP_DIR / "jarvis.conf").read_text()
    site = site.replace("/etc/ssl/jarvis/", f"{tmp_path}/").replace("/etc/nginx/", f"{tmp_path}/")
    (tmp_path / "site.conf").write_text(site)
    paths = f"client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p; access_log off;"
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; events {{}} http {{ {paths} include {tmp_path}/site.conf; }}"
    )
    nginx = program("nginx", "nginx", NGINX_PLACES)
    tried = subprocess.run([nginx, "-t", "-e", "stderr", "-c", str(tmp_path / "nginx.conf")], capture_output=True)
    assert tried.returncode == 0, tried.stderr.decode()
