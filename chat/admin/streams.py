"""Streams: what runs, how long the first token took, how each one ended; and a way to stop them."""

import re
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from chat import streams
from chat.admin.read_only import ReadOnlyAdmin, badge, may_read, owner_of, record, short
from chat.models import Stream
from chat.stream_state import ACTIVE, UNFINISHED, StreamState

_LISTED_IN_CONFIRMATION = 50
_HEX = re.compile("[0-9a-fA-F]{32}")
_STREAM_FIELDS = (
    *("id", "trace", "of_session", "user", "turn", "model", "badge", "reason", "stop_requested"),
    *("created_at", "started_at", "ended_at", "queued_seconds", "first_token_ms", "duration_seconds"),
    *("tokens_per_second", "tokens", "batches", "text_bytes", "prompt_tokens", "completion_tokens"),
    *("if_busy", "on_disconnect", "prompt", "message", "lease"),
)


class LiveFilter(admin.SimpleListFilter):
    title = "live now"
    parameter_name = "live"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("running", "Running"), ("waiting", "Waiting for its turn")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "running":
                return queryset.filter(state__in=ACTIVE)
            case "waiting":
                return queryset.filter(state=StreamState.QUEUED)
        return queryset


@admin.register(Stream)
class StreamAdmin(ReadOnlyAdmin[Stream]):
    list_display = [
        "short_id",
        "badge",
        "reason",
        "user",
        "of_session",
        "model",
        "started",
        "first_token_ms",
        "tokens_per_second",
        "tokens_in_batches",
    ]
    list_filter = [LiveFilter, "state", "reason", ("model", admin.AllValuesFieldListFilter)]
    list_select_related = ["session__user"]
    date_hierarchy = "created_at"
    ordering = ["-created_at"]
    search_fields = ["^id", "^session__id", "^trace_id", "session__user__username"]
    search_help_text = "The beginning of an id (stream, session or trace), or a user's name. Text is never searched."
    actions = ["stop_streams"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Stream]:
        return super().get_queryset(request).select_related("session__user", "prompt", "message", "lease")

    def get_fields(self, request: HttpRequest, obj: Stream | None = None) -> tuple[str, ...]:
        return _STREAM_FIELDS + (("error_message", "options") if may_read(request) else ())

    def get_readonly_fields(self, request: HttpRequest, obj: Stream | None = None) -> tuple[str, ...]:
        return self.get_fields(request, obj)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """A trace, or any id, may be given without its dashes, as log lines have it."""
        term = search_term.strip()
        if _HEX.fullmatch(term):
            term = str(UUID(term))
        return super().get_search_results(request, queryset, term)

    @admin.display
    def trace(self, stream: Stream) -> str:
        """As its log lines have it."""
        return stream.trace_id.hex

    @admin.display(description="id", ordering="id")
    def short_id(self, stream: Stream) -> str:
        return short(stream.id)

    @admin.display(ordering="started_at")
    def started(self, stream: Stream) -> str | None:
        """With its seconds, by which streams are told apart, and narrower than dates in words."""
        return None if stream.started_at is None else date_format(localtime(stream.started_at), "Y-m-d H:i:s")

    @admin.display(description="session", ordering="session")
    def of_session(self, stream: Stream) -> SafeString:
        url = reverse("admin:chat_chatsession_change", args=[stream.session_id])
        return format_html('<a href="{}">{}</a>', url, short(stream.session_id))

    @admin.display(ordering="session__user__username")
    def user(self, stream: Stream) -> str:
        return owner_of(stream.session)

    @admin.display(description="state", ordering="state")
    def badge(self, stream: Stream) -> SafeString:
        return badge(stream.state)

    @admin.display(description="first token (ms)", ordering="first_token_seconds", empty_value="–")
    def first_token_ms(self, stream: Stream) -> int | None:
        return None if stream.first_token_seconds is None else round(stream.first_token_seconds * 1000)

    @admin.display(description="tokens/s", empty_value="–")
    def tokens_per_second(self, stream: Stream) -> float | None:
        """Of the time in which tokens came: without the wait for the first."""
        if stream.duration_seconds is None or stream.first_token_seconds is None or stream.tokens is None:
            return None
        seconds = stream.duration_seconds - stream.first_token_seconds
        return round(stream.tokens / seconds, 1) if seconds > 0 else None

    @admin.display(description="tokens (batches)", ordering="tokens")
    def tokens_in_batches(self, stream: Stream) -> str:
        return f"{'–' if stream.tokens is None else stream.tokens} ({stream.batches})"

    def has_stop_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("chat.stop_stream")

    @admin.action(description="Stop running streams", permissions=["stop"])
    def stop_streams(self, request: HttpRequest, chosen: QuerySet[Stream]) -> HttpResponse | None:
        running = list(chosen.filter(state__in=UNFINISHED))
        if not running:
            self.message_user(request, "None of these streams is running.", messages.WARNING)
            return None
        if "confirmed" not in request.POST:
            return self._ask(request, running)
        ids = [stream.pk for stream in running]
        stopped = streams.stop_sync(ids)
        record(request, Stream, ids, "Told to stop.")
        self.message_user(request, f"Stopped {stopped} of {len(running)} streams.", messages.SUCCESS)
        return None

    def _ask(self, request: HttpRequest, running: list[Stream]) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Stop running streams",
            "opts": self.opts,
            "media": self.media,
            "running": running,
            "listed": running[:_LISTED_IN_CONFIRMATION],
            "unlisted": max(0, len(running) - _LISTED_IN_CONFIRMATION),
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/chat/stream/stop_confirmation.html", context)
