"""Log lines are one line each, whoever wrote them, and writing them delays nobody."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jarvis_site.log_file import RotatingFile
from jarvis_site.log_format import LineFormatter, json_line, logfmt_line
from jarvis_site.log_writer import LineQueue, Writer
from tests.live.log_lines import parse
from tests.live.server import PROJECT, environment

MOMENT = "2026-11-22T09:00:00.123456Z"
ANYTHING = st.text(st.characters(exclude_categories=()))  # control characters and lone surrogates too
NASTY = st.one_of(
    ANYTHING, st.sampled_from(["a b", 'x" y="1', "k=v", "\r\n2026 info forged", "\x1b[31m", "\u2028", "\\"])
)
KEYS = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)


# --- one line


def test_a_line_reads_as_promised() -> None:
    fields = {"trace": "abc", "session": "def", "status": "thinking", "cleanup_done": True, "seq": 3, "seconds": 0.5}
    line = logfmt_line(MOMENT, "info", "first_event", fields)
    assert line == (
        f"{MOMENT} info first_event trace=abc session=def status=thinking cleanup_done=True seq=3 seconds=0.5"
    )


@given(event=NASTY, fields=st.dictionaries(KEYS, NASTY))
def test_no_value_forges_a_line_or_a_pair(event: str, fields: dict[str, str]) -> None:
    line = logfmt_line(MOMENT, "info", event, fields)
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert parse(line) == (MOMENT, "info", event, fields)


@given(event=NASTY, fields=st.dictionaries(KEYS, NASTY | st.none() | st.booleans() | st.integers()))
def test_no_value_forges_a_json_line(event: str, fields: dict[str, object]) -> None:
    line = json_line(MOMENT, "info", event, fields)
    assert len(line.splitlines()) == 1
    assert json.loads(line) == {"timestamp": MOMENT, "level": "info", "event": event, **fields}


@given(key=ANYTHING.filter(bool))
def test_no_key_forges_a_pair(key: str) -> None:
    _, _, _, pairs = parse(logfmt_line(MOMENT, "info", "event", {key: "value"}))
    assert list(pairs.values()) == ["value"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("jv-0123456789abcdef", "jv-***"),
        ("Authorization: Bearer abcdefghijklmnop", "Authorization: Bearer ***"),
        ("postgres://jarvis:hunter2@db/jarvis", "postgres://jarvis:***@db/jarvis"),
    ],
)
def test_secrets_are_blotted_out(text: str, kept: str) -> None:
    assert parse(logfmt_line(MOMENT, "info", "event", {"value": text}))[3] == {"value": kept}


def test_a_value_of_any_length_makes_a_line_of_bounded_length() -> None:
    assert len(logfmt_line(MOMENT, "info", "event", {"value": "x" * 10_000_000})) < 20_000


def test_other_peoples_records_keep_their_message_in_one_field() -> None:
    record = logging.LogRecord("some.library", logging.WARNING, "", 0, "two\nlines of %s", ("text",), None)
    _, level, event, pairs = parse(LineFormatter(logfmt_line).format(record))
    assert (level, event, pairs) == ("warning", "some.library", {"message": "two\nlines of text"})


# --- the file


def lines_of(path: Path) -> list[str]:
    files = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, 10))]
    return [line for file in files if file.is_file() for line in file.read_text().splitlines()]


def test_a_full_file_is_rotated_and_the_oldest_goes(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "system.log", max_bytes=100)
    for number in range(100):
        file.write(b"line %03d ----------\n" % number)
    file.close()
    assert lines_of(tmp_path / "system.log")[0] == "line 095 ----------"
    assert len(lines_of(tmp_path / "system.log")) == 30
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 600


def test_a_file_that_is_taken_away_is_made_again(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "logs" / "system.log", max_bytes=100)
    file.write(b"one\n")
    (tmp_path / "logs" / "system.log").unlink()
    file.write(b"two\n")
    file.close()
    assert lines_of(tmp_path / "logs" / "system.log") == ["two"]


def test_two_processes_lose_and_mix_no_line_while_they_rotate(tmp_path: Path) -> None:
    path, count = tmp_path / "system.log", 3000
    code = (
        "import sys; from pathlib import Path; from jarvis_site.log_file import RotatingFile\n"
        f"file = RotatingFile(Path({str(path)!r}), max_bytes=60_000, backups=9)\n"
        f"for n in range({count}): file.write(f'{{sys.argv[1]}} {{n:05}} {{\"x\" * 50}}\\n'.encode())"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, name], cwd=PROJECT) for name in ("a", "b")]
    assert [process.wait(60) for process in processes] == [0, 0]
    expected = {f"{name} {number:05} {'x' * 50}" for name in ("a", "b") for number in range(count)}
    lines = lines_of(path)
    assert len(lines) == len(expected)
    assert set(lines) == expected


def test_several_lines_at_once_go_into_one_file_or_the_next(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "system.log", max_bytes=100)
    for number in range(20):
        file.write(b"".join(b"line %03d ----------\n" % (3 * number + each) for each in range(3)))
    file.close()
    assert lines_of(tmp_path / "system.log")[:3] == [f"line {number:03} ----------" for number in (57, 58, 59)]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())


def test_what_a_full_disk_takes_of_several_lines_is_whole_and_the_rest_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, room = os.write, [25, 0]

    def write(descriptor: int, data: bytes) -> int:
        taken = data[: room.pop(0)] if room else data
        return real(descriptor, taken) if taken else 0

    monkeypatch.setattr("jarvis_site.log_file.os.write", write)
    lines = LineQueue()
    for number in range(5):
        lines.put(b"line %03d\n" % number)
    file = RotatingFile(tmp_path / "system.log", max_bytes=10_000)
    for _ in range(2):  # the second time is when there is room again
        writer = Writer(lines, LineFormatter(logfmt_line), file)
        writer.stop()
        lines.put(b"later\n")
    file.close()
    whole = (tmp_path / "system.log").read_text().splitlines()
    assert whole[:3] == ["line 000", "line 001", "line 00"]
    assert whole[3:].count("later") == 1
    [told] = [line for line in whole[3:] if line != "later"]  # before it or after: as soon as there is room
    assert parse(told)[2:] == ("log_lines_dropped", {"count": "3"})


# --- a process that logs


def configured(tmp_path: Path, level: str = "INFO") -> str:
    config = f"{{'level': {level!r}, 'format': 'logfmt', 'directory': Path({str(tmp_path)!r}), 'max_bytes': 10**7}}"
    return (
        "import logging, structlog; from pathlib import Path; import jarvis_site.logging as own\n"
        f"own.configure({config}); log = structlog.get_logger('chat.test')\n"
    )


def logged_by(tmp_path: Path, code: str, level: str = "INFO") -> tuple[list[str], str]:
    """The lines of `system.log`, and standard error, of a process that runs this code."""
    command = [sys.executable, "-c", configured(tmp_path, level) + code]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    return lines_of(tmp_path / "system.log"), run.stderr


def test_everything_is_written_to_the_file_and_the_console_before_the_end(tmp_path: Path) -> None:
    lines, error = logged_by(tmp_path, "for n in range(2000): log.info('tick', n=n)")
    assert [parse(line)[3]["n"] for line in lines] == [str(n) for n in range(2000)]
    assert error.splitlines() == lines


def test_a_timestamp_is_utc_with_microseconds(tmp_path: Path) -> None:
    lines, _ = logged_by(tmp_path, "log.info('tick')")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z info tick", lines[0])


def test_a_traceback_is_one_field(tmp_path: Path) -> None:
    lines, _ = logged_by(tmp_path, "try: 1 / 0\nexcept Exception: log.exception('broken', trace='abc')")
    _, level, event, pairs = parse(lines[0])
    assert (level, event, pairs["trace"]) == ("error", "broken", "abc")
    assert "\nZeroDivisionError: division by zero" in pairs["exception"]


def test_format_level_and_directory_are_settings(tmp_path: Path) -> None:
    code = "import django; django.setup(); import structlog; structlog.get_logger('chat').debug('tick', done=True, n=1)"
    env = {"DJANGO_SETTINGS_MODULE": "jarvis_site.settings", "LOG_FORMAT": "json", "LOG_LEVEL": "DEBUG"}
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=PROJECT, env=environment(tmp_path, env), check=True, capture_output=True)
    line = json.loads(lines_of(tmp_path / "logs" / "system.log")[0])
    assert line.items() >= {"event": "tick", "level": "debug", "done": True, "n": 1}.items()


def test_a_value_that_cannot_be_printed_stops_nothing(tmp_path: Path) -> None:
    code = (
        "class Bad:\n    def __str__(self): raise RuntimeError\n"
        "log.info('bad', value=Bad()); log.info('good'); own.stop()"
    )
    lines, error = logged_by(tmp_path, code)
    assert "good" in [parse(line)[2] for line in lines]
    assert "good" in [parse(line)[2] for line in error.splitlines()]


def test_the_level_is_ours_alone_since_other_peoples_debug_holds_data(tmp_path: Path) -> None:
    code = "log.debug('ours'); logging.getLogger('django.db.backends').debug('SELECT secret')"
    assert [parse(line)[2] for line in logged_by(tmp_path, code, level="DEBUG")[0]] == ["ours"]


def test_strangers_write_neither_of_what_they_did_not_find_nor_of_what_they_must_not_send(tmp_path: Path) -> None:
    code = (
        "logging.getLogger('django.request').warning('Not Found')\n"
        "logging.getLogger('django.security.csrf').warning('Forbidden')\n"
        "logging.getLogger('django.security.TooManyFieldsSent').error('Too many')\n"
        "logging.getLogger('django.request').error('Internal Server Error')"
    )
    assert ["Internal Server Error" in line for line in logged_by(tmp_path, code)[0]] == [True]


def test_warnings_are_logged(tmp_path: Path) -> None:
    lines, _ = logged_by(tmp_path, "import warnings; warnings.warn('old')")
    assert parse(lines[0])[1:3] == ("warning", "py.warnings")


def test_a_console_that_nobody_reads_stops_neither_the_file_nor_the_end(tmp_path: Path) -> None:
    code = "for n in range(5000): log.info('tick', n=n, text='x' * 100)"
    command = [sys.executable, "-c", configured(tmp_path) + code]
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE) as process:
        assert process.wait(30) == 0
    assert len(lines_of(tmp_path / "system.log")) == 5000


def test_lines_that_find_the_queue_full_are_dropped_and_counted(tmp_path: Path) -> None:
    code = (
        "import jarvis_site.log_writer as writer; writer.QUEUE_LINES = 100\n"
        "import threading; held, go = threading.Event(), threading.Event()\n"
        "class Slow:\n"
        "    def __str__(self): held.set(); go.wait(); return 'slow'\n"
        "log.info('first', value=Slow()); held.wait()\n"
        "for n in range(250): log.info('tick', n=n)\n"
        "go.set()"
    )
    events = [parse(line)[2:] for line in logged_by(tmp_path, code)[0]]
    assert [event for event, _ in events] == ["first", *["tick"] * 100, "log_lines_dropped"]
    assert events[-1][1] == {"count": "150"}


def test_a_disk_that_is_full_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "system.log").mkdir()  # as unwritable as a full disk
    _, error = logged_by(tmp_path, "log.info('tick')")
    assert parse(error.splitlines()[0])[2] == "tick"


def test_a_disabled_line_costs_next_to_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, timeit\n"
        "seconds = min(timeit.repeat(lambda: log.debug('flush', seq=1, tokens=2), number=10_000, repeat=5)) / 10_000\n"
        "log.info('cost', microseconds=seconds * 1e6)"
    )
    assert float(parse(logged_by(tmp_path, code)[0][0])[3]["microseconds"]) < 3
