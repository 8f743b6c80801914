"""Processes that start together sign with the same key, and no start leaves half a one."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from jarvis_site.secret_key import kept_secret_key


def files(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def before_it_has_its_name(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", real)
        happens()
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def test_it_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    key = kept_secret_key(tmp_path)
    assert len(key) > 50
    assert kept_secret_key(tmp_path) == key
    assert files(tmp_path) == ["secret_key"]
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600


def test_of_two_that_start_together_both_have_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[str] = []
    before_it_has_its_name(monkeypatch, lambda: keys.append(kept_secret_key(tmp_path)))
    keys.append(kept_secret_key(tmp_path))
    assert keys[0] == keys[1] != ""
    assert files(tmp_path) == ["secret_key"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError("No space left on device")

    before_it_has_its_name(monkeypatch, full)
    with pytest.raises(OSError, match="space"):
        kept_secret_key(tmp_path)
    assert files(tmp_path) == []
    assert kept_secret_key(tmp_path)


def test_an_empty_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret_key").touch()
    with pytest.raises(ImproperlyConfigured, match="secret_key is empty"):
        kept_secret_key(tmp_path)
