"""Sessions, messages, streams, and who may use them."""

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from chat.stream_state import ENDED, EndReason, StreamState


def _choices(values: Any) -> list[tuple[str, str]]:
    return [(value.value, value.value.replace("_", " ")) for value in values]


class ChatSession(models.Model):
    """One conversation. It belongs to a user or to one anonymous browser, never to both."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True)
    anonymous_id = models.UUIDField(null=True, blank=True)
    title = models.CharField(max_length=200, blank=True)
    turns = models.BigIntegerField(default=0, help_text="the turn of the newest prompt")
    created_at = models.DateTimeField(auto_now_add=True)
    active_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-active_at", "-id"]
        indexes = [
            models.Index(fields=["user", "-active_at"]),
            models.Index(fields=["anonymous_id", "-active_at"]),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=True) | Q(anonymous_id__isnull=True), name="session_one_owner"
            )
        ]

    def __str__(self) -> str:
        return f"chat {self.id}"  # the title is what people wrote


class Message(models.Model):
    """One stored utterance. Viewers know of it from the event `seq` on; null: not yet announced."""

    class Role(models.TextChoices):
        USER = "user"
        ASSISTANT = "assistant"
        SYSTEM = "system"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(ChatSession, models.CASCADE, related_name="messages", db_index=False)
    position = models.BigIntegerField(help_text="2 × turn for a prompt, one more for its answer")
    role = models.CharField(max_length=9, choices=Role.choices)
    text = models.TextField(blank=True)
    state = models.CharField(max_length=11, choices=_choices(StreamState), default=StreamState.COMPLETED)
    reason = models.CharField(max_length=20, blank=True, choices=_choices(EndReason))
    parent = models.ForeignKey("self", models.SET_NULL, null=True, blank=True)
    seq = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["session", "position"]
        permissions = [("view_text", "Can read the text of messages")]
        # Its index is that of `session` too, and so is that of Stream's: each more is a page to write with each row.
        constraints = [models.UniqueConstraint(fields=["session", "position"], name="message_position_unique")]

    def __str__(self) -> str:
        return f"{self.role} {self.id}"


class Lease(models.Model):
    """A process vouches for its streams by raising `counter`; who stops raising it is dead (`leases.py`)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    counter = models.BigIntegerField(default=0)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    started_ticks = models.BigIntegerField(default=0, help_text="the process's start time on its host, in clock ticks")

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class Stream(models.Model):
    """One run of a model that writes one assistant message."""

    class IfBusy(models.TextChoices):
        INTERRUPT = "interrupt"
        REJECT = "reject"
        ENQUEUE = "enqueue"
        ROLLBACK = "rollback"

    class OnDisconnect(models.TextChoices):
        CANCEL = "cancel"
        CONTINUE = "continue"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(ChatSession, models.CASCADE, related_name="streams", db_index=False)
    turn = models.BigIntegerField()
    trace_id = models.UUIDField(default=uuid.uuid4)
    prompt = models.OneToOneField(Message, models.SET_NULL, null=True, related_name="+")
    message = models.OneToOneField(Message, models.SET_NULL, null=True, related_name="stream")
    lease = models.ForeignKey(Lease, models.SET_NULL, null=True, blank=True)
    state = models.CharField(max_length=11, choices=_choices(StreamState), default=StreamState.QUEUED)
    reason = models.CharField(max_length=20, blank=True, choices=_choices(EndReason))
    error_message = models.TextField(blank=True)
    retryable = models.BooleanField(default=False)
    stop_requested = models.CharField(max_length=20, blank=True, choices=_choices(EndReason))
    if_busy = models.CharField(max_length=9, choices=IfBusy.choices, default=IfBusy.INTERRUPT)
    rollback_from = models.BigIntegerField(null=True, blank=True, help_text="the first turn that this prompt undoes")
    on_disconnect = models.CharField(max_length=8, choices=OnDisconnect.choices, default=OnDisconnect.CONTINUE)
    model = models.CharField(max_length=200, blank=True)
    options = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    queued_seconds = models.FloatField(null=True, blank=True)
    first_token_seconds = models.FloatField(null=True, blank=True)
    duration_seconds = models.FloatField(null=True, blank=True)
    tokens = models.IntegerField(default=0, null=True, blank=True, help_text="empty: whoever ended it had not counted")
    batches = models.IntegerField(default=0)
    text_bytes = models.IntegerField(default=0)
    prompt_tokens = models.IntegerField(null=True, blank=True)
    completion_tokens = models.IntegerField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        permissions = [("stop_stream", "Can stop running streams")]
        indexes = [models.Index(fields=["-created_at"])]
        constraints = [
            models.UniqueConstraint(fields=["session", "turn"], name="stream_turn_unique"),
            models.UniqueConstraint(
                fields=["session"],
                condition=Q(state__in=[StreamState.THINKING, StreamState.STREAMING]),
                name="stream_one_active_per_session",
            ),
            models.CheckConstraint(condition=Q(state__in=sorted(ENDED)) ^ Q(reason=""), name="stream_ended_has_reason"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    def let_go(self) -> None:
        """Keeps its session and messages in memory no longer, if they are."""
        for field in self._meta.concrete_fields:
            if isinstance(field, models.ForeignKey) and field.is_cached(self):
                field.delete_cached_value(self)


class IdempotencyKey(models.Model):
    """A key claimed together with its prompt: the same key again gets the same stream."""

    caller = models.CharField(max_length=80)
    session = models.ForeignKey(ChatSession, models.CASCADE)
    key = models.CharField(max_length=200)
    body_digest = models.CharField(max_length=64)
    stream = models.ForeignKey(Stream, models.CASCADE)
    seq = models.BigIntegerField(help_text="the head of the log before the stream's first event")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(F("caller"), F("session"), F("key"), name="idempotency_key_unique"),
        ]

    def __str__(self) -> str:
        return self.key


class ApiKey(models.Model):
    """A bearer key of a user. Only the SHA-256 of the whole key is kept; `hint` is for people's eyes."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_keys")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=12, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.hint
