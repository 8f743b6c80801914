"""What can be set is written down, with the value that holds if it is not."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

PROJECT_DIR = Path(__file__).resolve().parent.parent
READERS = re.compile(r"_text|_list|_number|_positive_\w+|_boolean")
TRUTH = {"True": "true", "False": "false"}


def settings_read() -> dict[str, str]:
    """Each variable that `settings.py` reads, with its default as one would write it."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse((PROJECT_DIR / "jarvis_site" / "settings.py").read_text())):
        if isinstance(node, ast.BoolOp) and (name := _name(node.values[0])):  # read("NAME", …) or default
            found[name] = _written(_value(node.values[1]))
        elif (name := _name(node)) and isinstance(node, ast.Call):
            found.setdefault(name, _written(_value([*node.args, *(each.value for each in node.keywords)][-1])))
    return found


def _name(node: ast.AST) -> str:
    """The variable that this expression reads; empty if it reads none."""
    if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
        return ""
    reader = node.func.value if isinstance(node.func, ast.Attribute) else node.func
    return str(node.args[0].value) if isinstance(reader, ast.Name) and READERS.fullmatch(reader.id) else ""


def _value(node: ast.expr) -> Any:
    try:
        return eval(compile(ast.Expression(node), "settings.py", "eval"), {"__builtins__": {}})
    except NameError:  # made from other settings
        return ""


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, float):
        return f"{value:g}"
    return TRUTH.get(str(value), str(value))


def settings_shown() -> dict[str, str]:
    return dict(re.findall(r"^#([A-Z_]+)=(.*)$", (PROJECT_DIR / ".env.example").read_text(), flags=re.MULTILINE))


def test_the_settings_are_found() -> None:
    assert {"PORT", "HTTPS", "SECRET_KEY", "CHAT_MODEL", "EVENTS_CHANNEL_CAPACITY"} <= settings_read().keys()


def test_the_example_shows_every_setting_with_its_default() -> None:
    assert settings_shown() == settings_read()


@pytest.mark.parametrize("document", [".env.example", "README.md"])
def test_every_setting_is_explained(document: str) -> None:
    text = (PROJECT_DIR / document).read_text()
    assert [name for name in settings_read() if not re.search(rf"\b{name}\b", text)] == []


def test_every_setting_of_the_example_has_its_reason() -> None:
    text = (PROJECT_DIR / ".env.example").read_text()
    assert re.findall(r"^\n#([A-Z_]+)=", text, flags=re.MULTILINE) == []


def test_a_copy_of_the_example_says_nothing_until_it_is_changed() -> None:
    lines = (PROJECT_DIR / ".env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []
