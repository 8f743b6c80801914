"""API keys: random enough, stored as digests only, revocable, made by a command that prints nothing else."""

import io

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from chat import api_keys
from chat.models import ApiKey

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada")


def test_a_key_finds_its_user(ada: User) -> None:
    found = api_keys.find(api_keys.create_api_key(ada))
    assert found is not None
    assert found.user == ada


def test_keys_differ_and_carry_256_random_bits(ada: User) -> None:
    keys = {api_keys.create_api_key(ada) for _ in range(20)}
    assert len(keys) == 20
    assert all(key.startswith("jv-") and len(key) == 3 + 43 for key in keys)


def test_no_column_holds_the_key(ada: User) -> None:
    key = api_keys.create_api_key(ada)
    row = ApiKey.objects.values().get()
    assert not any(key[3:] in str(value) or str(value) in key[3:] for value in row.values() if len(str(value)) > 4)
    assert ApiKey.objects.get().hint[:7] == key[:7]


def test_a_dump_of_the_database_holds_no_key(ada: User) -> None:
    key = api_keys.create_api_key(ada)
    dump = connection.creation.serialize_db_to_string()
    assert ApiKey.objects.get().digest in dump
    assert key[10:-10] not in dump


@pytest.mark.parametrize(
    "key",
    ["", "jv-", "jv-short", "sk-" + "a" * 43, "jv-" + "a" * 8192, "jv-" + "a" * 42 + "\0", "jv-" + "é" * 43],
)
def test_a_malformed_key_never_reaches_the_database(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(api_keys, "read")
    assert api_keys.find(key) is None


def test_an_unknown_key_finds_nobody(ada: User) -> None:
    key = api_keys.create_api_key(ada)
    assert api_keys.find(key[:-1] + ("a" if key[-1] != "a" else "b")) is None


def test_a_revoked_key_finds_nobody_and_keeps_its_time(ada: User) -> None:
    key = api_keys.create_api_key(ada)
    row = ApiKey.objects.get()
    api_keys.revoke(row)
    row.refresh_from_db()
    first = row.revoked_at
    api_keys.revoke(row)
    row.refresh_from_db()
    assert (api_keys.find(key), row.revoked_at) == (None, first)
    assert first is not None


def test_an_inactive_user_has_no_keys(ada: User) -> None:
    key = api_keys.create_api_key(ada)
    User.objects.update(is_active=False)
    assert api_keys.find(key) is None


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("create_api_key", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_prints_the_key_and_nothing_else(ada: User) -> None:
    key = run("ada").removesuffix("\n")
    found = api_keys.find(key)
    assert found is not None
    assert found.user == ada


def test_the_command_makes_a_user_without_a_password_if_asked() -> None:
    key = run("grace", "--create-user").strip()
    assert api_keys.find(key) is not None
    assert not User.objects.get(username="grace").has_usable_password()


@pytest.mark.parametrize("arguments", [("nobody",), ("not a name", "--create-user"), ("x" * 151, "--create-user")])
def test_the_command_says_what_is_wrong(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        run(*arguments)
    assert not ApiKey.objects.exists()


def test_the_command_refuses_an_inactive_user(ada: User) -> None:
    User.objects.update(is_active=False)
    with pytest.raises(CommandError, match="not active"):
        run("ada")
