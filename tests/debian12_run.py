# ruff: noqa: T201
"""`make run` as a newcomer has it, on a machine with nothing but Python: start, one streamed answer, Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import IO

KEY_FILE = Path("/tmp/first-key")  # kept from the first start for the second: it is shown only once
QUESTION = {"model": "smollm2-135m-instruct", "stream": True, "messages": [{"role": "user", "content": "Who are you?"}]}


def wait_until_ready(output: IO[str]) -> str:
    """The address to open."""
    for line in output:
        print(line, end="", flush=True)
        if found := re.search(r"API key +(jv-\S+)", line):
            KEY_FILE.write_text(found[1])
        if found := re.search(r"Everything is ready. Open (\S+)", line):
            return found[1]
    raise SystemExit("`make run` has ended before it was ready")


def ask(address: str) -> list[str]:
    headers = {"Authorization": f"Bearer {KEY_FILE.read_text()}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}v1/chat/completions", json.dumps(QUESTION).encode(), headers)
    texts = []
    with urllib.request.urlopen(request, timeout=60) as answer:
        for line in answer:
            if line.startswith(b"data: {"):
                choices = json.loads(line[6:])["choices"]
                texts += [choice["delta"]["content"] for choice in choices if choice["delta"].get("content")]
    return texts


def main() -> None:
    started = time.monotonic()
    jarvis = subprocess.Popen(["make", "run"], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert jarvis.stdout
    address = wait_until_ready(jarvis.stdout)
    print(f"--- ready after {time.monotonic() - started:.1f} s", flush=True)
    texts = ask(address)
    print(f"--- answered in {len(texts)} pieces: {''.join(texts)[:200]!r}", flush=True)
    asked_to_end = time.monotonic()
    os.killpg(jarvis.pid, signal.SIGINT)
    print(jarvis.stdout.read(), flush=True)
    code = jarvis.wait()
    print(f"--- ended with {code} after {time.monotonic() - asked_to_end:.1f} s", flush=True)
    if len(texts) < 2 or code not in (0, 130, -signal.SIGINT):
        raise SystemExit("this is not as it should be")


if __name__ == "__main__":
    main()
