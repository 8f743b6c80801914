"""The key that signs cookies, where the environment gives none: made once, and kept where the data are."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from django.core.exceptions import ImproperlyConfigured


def kept_secret_key(directory: Path) -> str:
    """The same in every process that uses the directory, readable by its owner only.

    The file has its name only once it is whole: of processes that start together the first one's is used by all, and
    a full disk leaves none.
    """
    path = directory / "secret_key"
    if not path.exists():
        with NamedTemporaryFile("w", dir=directory, prefix="secret_key-") as file:
            file.write(secrets.token_urlsafe(50))
            file.flush()
            os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(file.name, path)
    key = path.read_text()
    if not key:
        raise ImproperlyConfigured(f"{path} is empty: remove it, and a new key is made")
    return key
