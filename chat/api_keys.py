"""Bearer keys: how they are made, found again by their digest alone, and revoked."""

import hashlib
import re
import secrets

from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from chat.models import ApiKey
from chat.rows import exists, read

_PREFIX = "jv-"
_RANDOM_BYTES = 32
_SHAPE = re.compile(r"jv-[A-Za-z0-9_-]{22,128}")
_VALID = f"revoked_at IS NULL AND user_id IN (SELECT id FROM {User._meta.db_table} WHERE is_active)"  # noqa: S608


def create_api_key(user: User) -> str:
    """Make a key for the user and return it: the only time that it can be seen, since only its digest is stored."""
    return issue(ApiKey(user=user))


def issue(api_key: ApiKey) -> str:
    """Store a new row, which says whose key it is, and return its key: see `create_api_key`."""
    assert api_key.pk is None
    key = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    api_key.digest, api_key.hint = _digest(key), f"{key[:7]}…{key[-4:]}"
    api_key.save()
    return key


def find(key: str) -> ApiKey | None:
    """The key's row, unless it is malformed, unknown, revoked or its user is inactive."""
    if not _SHAPE.fullmatch(key):
        return None
    digest = _digest(key)
    found = read(ApiKey, f"digest = %s AND {_VALID}", digest)
    return found[0] if found and constant_time_compare(found[0].digest, digest) else None


def usable(api_key_id: int, user_id: int) -> bool:
    """Whether the key may still be used by this user."""
    return exists(ApiKey, f"id = %s AND user_id = %s AND {_VALID}", api_key_id, user_id)


def revoke(api_key: ApiKey) -> None:
    """End the key for good. A key that is revoked already keeps its time."""
    ApiKey.objects.filter(pk=api_key.pk, revoked_at=None).update(revoked_at=timezone.now())


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
