"""`python manage.py check_streaming`: passes with the real model, and says what fails."""

import subprocess
import sys
import threading
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from jarvis_site.management.commands.check_streaming import Command
from tests.live.log_lines import parse
from tests.live.server import PROJECT, Server, environment, running_server
from tests.live.site import Site
from tests.services import EmbeddedModel


@pytest.fixture
def with_model(embedded_model: EmbeddedModel, tmp_path: Path) -> Iterator[Server]:
    embedded_model.share_with(tmp_path)
    with running_server(data_dir=tmp_path) as server:
        yield server


def check_streaming(url: str, data_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "check_streaming", "--url", url, *options],
        cwd=PROJECT,
        env=environment(data_dir, {}),
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.services
def test_it_passes_with_the_real_model(with_model: Server, tmp_path: Path) -> None:
    done = check_streaming(with_model.url, tmp_path, "--iterations", "2")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("baseline: first token ")
    assert ["1/2" in lines[1], "2/2" in lines[2]] == [True, True]
    assert all("A interrupted after" in line and "B answered after" in line for line in lines[1:3])
    assert lines[3] == "✓✓✓ ALL TESTS PASSED ✓✓✓"
    assert with_model.stop() == 0
    logged = Counter(event for _, _, event, _ in map(parse, with_model.log_text().splitlines()))
    assert logged["stream_start"] == logged["stream_end"] == 5
    assert logged["events_bus_closed"] == 1


def test_it_says_which_promise_a_server_breaks(site: Site, tmp_path: Path) -> None:
    """The model of this server answers in a moment, so that nothing is left to interrupt."""
    done = check_streaming(site.server.url, tmp_path)
    assert done.returncode == 1
    assert "✗ Prompt A ended completed, not interrupted." in done.stderr
    assert "PASSED" not in done.stdout


def test_it_says_that_nobody_answers(tmp_path: Path) -> None:
    done = check_streaming("http://127.0.0.1:9", tmp_path)
    assert done.returncode == 1
    assert "✗" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_key_is_told(site: Site, tmp_path: Path) -> None:
    done = check_streaming(site.server.url, tmp_path, "--key", "jv-wrong")
    assert done.returncode == 1
    assert "No session could be made: 401" in done.stderr


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1:9", "http://127.0.0.1:99999", "http://[::1"])
def test_an_address_that_is_none_is_told(tmp_path: Path, url: str) -> None:
    done = check_streaming(url, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: ✗ ")
    assert "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


class Stranger(BaseHTTPRequestHandler):
    """Some other server, to which every path is a page; or one that hangs up."""

    def do_GET(self) -> None:
        self.answer(200)

    def do_POST(self) -> None:
        self.answer(201)

    def answer(self, status: int) -> None:
        if self.server.hangs_up:  # type: ignore[attr-defined]
            return
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"<h1>It works!</h1>")


@pytest.mark.parametrize(("hangs_up", "told"), [(False, "'<h1>It works!</h1>'"), (True, "cannot be reached")])
def test_a_server_that_is_another_one_is_told(tmp_path: Path, hangs_up: bool, told: str) -> None:
    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        server.hangs_up = hangs_up  # type: ignore[attr-defined]
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            done = check_streaming(f"http://127.0.0.1:{server.server_port}", tmp_path)
        finally:
            server.shutdown()
            serving.join()
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_passes_that_is_not_tried(tmp_path: Path) -> None:
    done = check_streaming("http://127.0.0.1:9", tmp_path, "--iterations", "0")
    assert done.returncode != 0
    assert "nothing is checked less than once" in done.stderr
    assert "PASSED" not in done.stdout


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("chat.example.com", "http://chat.example.com:8000"),
    ],
)
def test_unless_told_otherwise_it_asks_the_server_here(settings: Settings, host: str, url: str) -> None:
    settings.HOST, settings.PORT = host, 8000
    parser = ArgumentParser()
    Command().add_arguments(parser)
    assert parser.parse_args([]).url == url
