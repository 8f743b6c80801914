"""What `docs/deployment.md` says to type and to write into files, as far as a machine without systemd can do it."""

import argparse
import configparser
import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from chat import registry
from jarvis_site.patience import BEYOND_GRACE_SECONDS, KILL_SECONDS
from tests.live.server import environment, running_server
from tests.server_process import PROJECT_DIR
from tests.services import PostgresServer, RedisServer
from tests.test_settings_documented import settings_read

DOCUMENT = (PROJECT_DIR / "docs" / "deployment.md").read_text()


def settings_shown() -> dict[str, str]:
    """`/etc/jarvis.env` of the page as systemd reads it: only a whole line can be a comment."""
    block = re.search(r"^`/etc/jarvis\.env` is .*?```sh\n(.*?)```", DOCUMENT, flags=re.DOTALL | re.MULTILINE)
    assert block
    text = block[1]
    assert not re.search(r"^[^#].*[\"'\\]", text, flags=re.MULTILINE)  # quotes have further rules (systemd.exec(5))
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.partition("=") for line in lines if line and line[0] not in "#;"]
    return {name.strip(): value.strip() for name, _, value in pairs}


def filled_in(**own: str) -> dict[str, str]:
    return {**settings_shown(), "SECRET_KEY": secrets.token_urlsafe(50), **own}


def manage(arguments: list[str], data_dir: Path, values: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=PROJECT_DIR, env=environment(data_dir, values), capture_output=True, text=True)


def asked_of_systemd(tmp_path: Path, *arguments: str) -> tuple[dict[str, str], list[str]]:
    """What `setup/manage` has systemd run: the properties of the unit, and its command."""
    program = tmp_path / "systemd-run"
    program.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    program.chmod(0o755)
    variables = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    script = PROJECT_DIR / "setup" / "manage"
    words = json.loads(subprocess.run([script, *arguments], env=variables, capture_output=True, check=True).stdout)
    parser = argparse.ArgumentParser()
    parser.add_argument("--property", action="append")
    parser.add_argument("--setenv", action="append")
    for option in ("--quiet", "--pipe", "--wait", "--collect"):
        parser.add_argument(option, action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args(words)
    assert asked.pipe
    assert asked.wait
    properties = dict(each.split("=", 1) for each in asked.property)
    return properties | {"Environment": " ".join(asked.setenv)}, asked.command


def test_the_settings_of_the_page_are_such_as_systemd_reads_them() -> None:
    shown = settings_shown()
    assert shown.keys() <= settings_read().keys()
    assert [value for value in shown.values() if re.search(r"[\s#]", value)] == []


def test_a_server_accepts_the_settings_of_the_page(tmp_path: Path) -> None:
    checked = manage(["check", "--deploy", "--fail-level", "WARNING"], tmp_path, filled_in())
    assert checked.returncode == 0, checked.stderr


def test_setup_manage_runs_commands_as_the_unit_runs_the_server(tmp_path: Path) -> None:
    properties, command = asked_of_systemd(tmp_path, "create_api_key", "a b")
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(PROJECT_DIR / "setup" / "systemd" / "jarvis@.service")
    service = dict(unit["Service"])
    service["Environment"] = service["Environment"].removeprefix("PORT=%i ")
    assert properties == {name: service[name] for name in properties}
    assert {"User", "WorkingDirectory", "EnvironmentFile", "StateDirectory", "Environment"} == properties.keys()
    assert command == [*service["ExecStart"].split()[:-1], "create_api_key", "a b"]


def test_whoever_ends_a_process_waits_as_long_as_that_may_take() -> None:
    grace, beyond = float(settings_read()["SHUTDOWN_GRACE_SECONDS"]), f"{BEYOND_GRACE_SECONDS:g}"
    assert f"at most {beyond} s later the process has ended" in DOCUMENT
    assert f"| `SHUTDOWN_GRACE_SECONDS` + {beyond} s |" in DOCUMENT
    assert f"`TimeoutStopSec` ({KILL_SECONDS:g} more)" in DOCUMENT
    assert f"{100 * registry._FINISHING:g} % of `SHUTDOWN_GRACE_SECONDS`" in DOCUMENT
    for name in ("jarvis@", "jarvis-shared@"):
        unit = (PROJECT_DIR / "setup" / "systemd" / f"{name}.service").read_text()
        assert f"\nTimeoutStopSec={grace + KILL_SECONDS:g}\n" in unit
        assert f"SHUTDOWN_GRACE_SECONDS ({grace:g}), then at most {beyond} more " in unit


@pytest.mark.services
def test_the_database_is_prepared_before_the_first_process_starts(
    postgres_server: PostgresServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    assert DOCUMENT.index("\nsetup/manage prepare ") < DOCUMENT.index("\nsystemctl enable --now jarvis@")
    values = filled_in(DATABASE_URL=postgres_server.url("deployed"), REDIS_URL=redis_server.url)
    refused = manage(["serve", "--port", "0"], tmp_path, values)
    assert refused.returncode == 1
    assert "prepare" in refused.stderr
    _, [_, _, *arguments] = asked_of_systemd(tmp_path, "prepare")
    prepared = manage(arguments, tmp_path, values)
    assert (prepared.returncode, prepared.stderr) == (0, "")
    assert re.search(r"API key +jv-\S{40,}$", prepared.stdout, flags=re.MULTILINE)
    with running_server(data_dir=tmp_path, env=values) as server:
        assert server.stop() == 0
