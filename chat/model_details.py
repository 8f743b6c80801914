"""`model.json` in the data directory: where the embedded model is, and how it is."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

FILE_NAME = "model.json"


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """`url` (to which `/chat/completions` is added) is "" unless `ready`; `message` says what is wrong, for people.

    `pid` is llama.cpp's process, 0 if there is none.
    """

    model: str
    state: Literal["loading", "ready", "down"]
    url: str = ""
    key: str = ""
    pid: int = 0
    message: str = ""


def write_details(data_dir: Path, details: ModelDetails) -> None:
    """Replaces the file in one step, so that no reader sees half of it; only the owner can read it."""
    path = data_dir / FILE_NAME
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(details), file)
    draft.replace(path)


def remove_details(data_dir: Path) -> None:
    (data_dir / FILE_NAME).unlink(missing_ok=True)
