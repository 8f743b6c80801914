"""What a variable says is what holds, to the letter; one that is set to nothing is as good as one that is not set."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.test_settings_documented import PROJECT_DIR, settings_read

CODE = """
import json, environ
environ.Env.read_env = lambda *_: None  # whoever runs this may have an .env
from jarvis_site import settings
print(json.dumps({name: repr(getattr(settings, name)) for name in dir(settings) if name.isupper()}))
"""


def settings_with(data_dir: Path, variables: dict[str, str]) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if name not in settings_read()}
    env = {**others, "SECRET_KEY": "x", "JARVIS_DATA_DIR": str(data_dir), **variables}
    done = subprocess.run([sys.executable, "-c", CODE], cwd=PROJECT_DIR, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    read: dict[str, str] = json.loads(done.stdout)
    return {name: value for name, value in read.items() if " object at 0x" not in value}


def test_empty_means_the_default(tmp_path: Path) -> None:
    empty = dict.fromkeys(settings_read().keys() - {"SECRET_KEY", "JARVIS_DATA_DIR"}, "")
    assert len(empty) > 40
    assert settings_with(tmp_path, empty) == settings_with(tmp_path, {})


def test_an_empty_key_is_made(tmp_path: Path) -> None:
    made = settings_with(tmp_path, {"SECRET_KEY": ""})["SECRET_KEY"]
    assert (
        made == settings_with(tmp_path, {"SECRET_KEY": ""})["SECRET_KEY"] == repr((tmp_path / "secret_key").read_text())
    )


def test_a_value_that_begins_with_a_dollar_is_no_name_of_another_variable(tmp_path: Path) -> None:
    texts = {"SECRET_KEY": "$x", "CHAT_PROVIDER_KEY": "$$x", "CHAT_SYSTEM_PROMPT": "$HOME"}
    read = settings_with(tmp_path, texts)
    assert {name: read[name] for name in texts} == {name: repr(text) for name, text in texts.items()}


def test_names_in_a_list_may_have_spaces_between(tmp_path: Path) -> None:
    hosts = settings_with(tmp_path, {"ALLOWED_HOSTS": "chat.example.com, localhost,"})["ALLOWED_HOSTS"]
    assert hosts == "['chat.example.com', 'localhost']"
