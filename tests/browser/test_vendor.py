"""What others wrote is what `vendor.json` says it is, and stands alone."""

import hashlib
import json
import re
from pathlib import Path

VENDOR = Path(__file__).resolve().parents[2] / "chat" / "static" / "chat" / "vendor"
PARTS = json.loads((VENDOR / "vendor.json").read_text())


def test_every_vendored_file_is_as_published() -> None:
    told = {f"{part['folder']}/{name}": digest for part in PARTS for name, digest in part["sha256"].items()}
    found = {
        str(path.relative_to(VENDOR)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "vendor.json"
    }
    assert found == told


def test_every_part_names_its_version_and_brings_its_licence() -> None:
    for part in PARTS:
        assert re.fullmatch(r"\d+\.\d+\.\d+", part["version"])
        assert part["licence"]
        assert "LICENSE" in part["sha256"]


def test_no_part_imports_anything() -> None:
    for path in VENDOR.rglob("*.js"):
        text = path.read_text()
        assert not re.search(r"^\s*(import|export)\b[^;(]*\bfrom\s*[\"']", text, re.M), path
        assert not re.search(r"\b(eval|Function)\(", text), path
