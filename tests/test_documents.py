"""What the documents say of the code is so, and what callers and operators meet is in them."""

import ast
import re

from django.core.management import get_commands

from chat import exceptions, wire
from chat.exceptions import ChatError
from chat.openapi import document
from chat.prompt import Options, PromptIn
from chat.providers.embedded import NOT_RUNNING
from chat.stream_state import EndReason, StreamState
from jarvis_site.logging import OWN_LOGGERS
from tests.server_process import PROJECT_DIR

DOCUMENTS = {path.name: path.read_text() for path in (PROJECT_DIR / "README.md", *PROJECT_DIR.glob("docs/**/*.md"))}
WIRE_FORMAT = DOCUMENTS["wire-format.md"]
SOURCES = [path.read_text() for app in OWN_LOGGERS for path in PROJECT_DIR.glob(f"{app}/**/*.py")]


def test_every_command_to_type_works_where_it_is_typed() -> None:
    """Debian has no `python`, and the packages are in .venv/. What people are told when something is missing, too."""
    for text in (*DOCUMENTS.values(), NOT_RUNNING):
        assert re.findall(r".*(?<!\.venv/bin/python )manage\.py \w+", text) == []
        assert set(re.findall(r"setup/manage (\w+)", text)) <= get_commands().keys()


def test_every_request_and_its_parameters_are_in_the_wire_format() -> None:
    for path, methods in document()["paths"].items():
        shown = re.sub(r"\{\w*session_id\}", "{id}", path)
        for method, operation in methods.items():
            rows = re.findall(rf"^\| `{method.upper()} {re.escape(shown)}.*", WIRE_FORMAT, flags=re.MULTILINE)
            assert rows, (method, path)
            named = [each["name"] for each in operation.get("parameters", []) if each["in"] != "path"]
            assert [name for name in named if name not in "".join(rows) and f"`{name}`" not in WIRE_FORMAT] == [], path


def test_every_field_of_a_prompt_and_every_word_of_an_event_is_in_the_wire_format() -> None:
    events = [value for name, value in vars(wire).items() if name.isupper() and isinstance(value, str)]
    words = [*PromptIn.model_fields, *Options.model_fields, *events, *EndReason, *StreamState]
    assert [word for word in words if not re.search(rf"[`\"]{word}[`\"]", WIRE_FORMAT)] == []


def test_every_refusal_is_in_the_wire_format() -> None:
    errors = [each for each in vars(exceptions).values() if isinstance(each, type) and issubclass(each, ChatError)]
    refusals = {(str(each.status), each.code) for each in errors}
    for source in SOURCES:
        refusals |= set(re.findall(r'(?:refuse|send_error)\([^"]*?\b(\d{3}), "(\w+)"', source))
    assert ("408", "request_timeout") in refusals
    shown = WIRE_FORMAT[WIRE_FORMAT.index("Every refusal is") :].split("A session that is not yours")[0]
    by_status = dict(re.findall(r"\b(\d{3})\b(.*?)(?=\b\d{3}\b|$)", shown, flags=re.DOTALL))
    assert [each for each in refusals if f"`{each[1]}`" not in by_status.get(each[0], "")] == []


def test_every_line_of_the_log_is_explained() -> None:
    names = {name for source in SOURCES for name in log_lines(source)}
    assert {"stream_start", "flush_on_end", "loop_lag", "model_down"} <= names
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", DOCUMENTS["troubleshooting.md"])] == []


def log_lines(source: str) -> set[str]:
    """The names of the events that this module logs, as far as it names them."""
    found = set(re.findall(r'(?:"event": |line = )"(\w+)"|"(flush_on_\w+)"', source))
    names = {name for pair in found for name in pair if name}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            logger = ast.unparse(node.func.value).rpartition(".")[2].lstrip("_")
            if logger in {"log", "logger"} and isinstance(first := node.args[0], ast.Constant):
                names.add(str(first.value))
    return names
