"""The README's commands do what it says, when they are pasted."""

import os
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.live.conftest import StartServer
from tests.live.server import PROJECT, environment


@pytest.mark.services  # needs curl
@pytest.mark.parametrize("user", ["reader", ""])
def test_the_curl_session_of_the_readme_works(start_server: StartServer, tmp_path: Path, user: str) -> None:
    script = re.search(r"<!-- a test runs this -->\n```sh\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert script is not None
    server = start_server(data_dir=tmp_path, env={"CHAT_PROVIDER_URL": "scripted:?tokens=20&rate=0"})
    shell = environment(tmp_path, {"URL": server.url, **({"USER": user} if user else {})})
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail\n{script[1]}"],
        cwd=PROJECT,
        env={**shell, "PATH": f"{PROJECT}/.venv/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    streamed, followed, stored = re.split(r"\n(?=retry:)|\n(?=\{\"id\")", ran.stdout)
    assert streamed.startswith("retry: 1000\nid: 1\nevent: chat.status\n")
    assert '"reason":"completed"' in streamed
    assert followed.startswith("retry: 1000\nid: 3\n")
    assert '"reason":"completed"' in followed
    assert "⟨19:" in stored or "\\u27e819:" in stored
    assert ran.stderr == ""
    with closing(sqlite3.connect(tmp_path / "jarvis.sqlite3")) as database:
        owners = database.execute("SELECT username FROM chat_chatsession JOIN auth_user ON user_id = auth_user.id")
        assert owners.fetchall() == [(user or "me",)]
