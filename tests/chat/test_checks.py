import pytest
from django.conf import LazySettings
from django.core.checks import run_checks


@pytest.mark.parametrize(
    ("name", "value", "check_id"),
    [
        ("CHAT_IF_BUSY", "panic", "chat.E001"),
        ("CHAT_PROVIDER_URL", "ftp://models", "chat.E002"),
        ("CHAT_PROVIDER_URL", "scripted:?tokens=many", "chat.E002"),
        ("CHAT_PROVIDER_URL", "http:///v1", "chat.E003"),
    ],
)
def test_a_wrong_value_is_refused_by_name(settings: LazySettings, name: str, value: str, check_id: str) -> None:
    setattr(settings, name, value)
    [error] = [message for message in run_checks() if message.id == check_id]
    assert name in error.msg


def test_the_defaults_are_right() -> None:
    assert [message for message in run_checks() if str(message.id).startswith("chat.")] == []
