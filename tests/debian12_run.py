# ruff: noqa: T201
"""`make run` as a newcomer has it, on a machine with nothing but Python: start, one streamed answer, Ctrl-C.

Usage: tests/debian12_run.py [SECONDS]    (that the start may take at most)
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from http.client import HTTPResponse
from pathlib import Path
from typing import IO

KEY_FILE = Path("/tmp/first-key")  # kept from the first start for the second: it is shown only once
QUESTION = "Why is the sky blue?"


def wait_until_ready(output: IO[str]) -> str:
    """The address to open."""
    for line in output:
        print(line, end="", flush=True)
        if found := re.search(r"API key +(jv-\S+)", line):
            KEY_FILE.write_text(found[1])
        if found := re.search(r"Everything is ready. Open (\S+)", line):
            return found[1]
    raise SystemExit("`make run` has ended before it was ready")


def send(url: str, body: dict[str, str], accept: str) -> HTTPResponse:
    headers = {"Authorization": f"Bearer {KEY_FILE.read_text()}", "Content-Type": "application/json", "Accept": accept}
    response: HTTPResponse = urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers))
    return response


def ask(address: str) -> list[str]:
    """The batches of one streamed answer."""
    with send(f"{address}api/sessions/", {}, "application/json") as made:
        session = json.load(made)["id"]
    texts, event = [], ""
    with send(f"{address}api/sessions/{session}/streams/", {"prompt": QUESTION}, "text/event-stream") as answer:
        for line in answer:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                event = value
            elif name == "data" and event == "chat.token":
                texts.append(json.loads(value)["text"])
    if event != "chat.end":
        raise SystemExit(f"the answer ended with {event}")
    return texts


def look_at_the_page(address: str) -> None:
    with urllib.request.urlopen(address) as page:
        text = page.read().decode()
    for path in re.findall(r'(?:src|href)="/(static/[^"]+)"', text):
        with urllib.request.urlopen(address + path) as file:
            print(f"--- {path}: {file.status}, {len(file.read())} bytes", flush=True)


def main() -> None:
    limit_seconds = float(sys.argv[1]) if len(sys.argv) > 1 else float("inf")
    started = time.monotonic()
    jarvis = subprocess.Popen(["make", "run"], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert jarvis.stdout
    address = wait_until_ready(jarvis.stdout)
    start_seconds = time.monotonic() - started
    print(f"--- ready after {start_seconds:.1f} s", flush=True)
    look_at_the_page(address)
    texts = ask(address)
    print(f"--- answered in {len(texts)} batches: {''.join(texts)[:200]!r}", flush=True)
    asked_to_end = time.monotonic()
    os.killpg(jarvis.pid, signal.SIGINT)
    print(jarvis.stdout.read(), flush=True)
    code = jarvis.wait()
    print(f"--- ended with {code} after {time.monotonic() - asked_to_end:.1f} s", flush=True)
    if start_seconds > limit_seconds or len(texts) < 2 or code not in (0, 130, -signal.SIGINT):
        raise SystemExit("this is not as it should be")


if __name__ == "__main__":
    main()
