"""Sessions and, for those who may read them, their messages."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, Length
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat.admin.read_only import ReadOnlyAdmin, TabularInline, badge, may_read, owner_of, record, short
from chat.models import ChatSession, Message
from chat.session_list import with_activity

_SHOWN_TURNS = 100


class MessageInline(TabularInline[Message, ChatSession]):
    """The newest turns. The text is not even read from the database for those who may not see it."""

    model = Message
    extra = max_num = 0
    can_delete = False
    verbose_name_plural = f"messages (of the newest {_SHOWN_TURNS} turns)"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        messages = super().get_queryset(request).filter(position__gt=2 * (F("session__turns") - _SHOWN_TURNS))
        return messages.annotate(characters=Length("text")).defer(*() if may_read(request) else ("text",))

    def get_fields(self, request: HttpRequest, obj: ChatSession | None = None) -> tuple[str, ...]:
        shown = ("position", "role", "state", "reason", "characters", "created_at")
        return (*shown, "whole_text") if may_read(request) else shown

    def get_readonly_fields(self, request: HttpRequest, obj: ChatSession | None = None) -> tuple[str, ...]:
        return self.get_fields(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: ChatSession | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="characters")
    def characters(self, message: Message) -> int:
        return int(getattr(message, "characters", 0))

    @admin.display(description="text")
    def whole_text(self, message: Message) -> SafeString:
        return format_html('<div class="message-text">{}</div>', message.text)


@admin.register(ChatSession)
class SessionAdmin(ReadOnlyAdmin[ChatSession]):
    inlines = [MessageInline]
    list_filter = [("deleted_at", admin.EmptyFieldListFilter), ("user", admin.EmptyFieldListFilter)]
    list_select_related = ["user"]
    date_hierarchy = "active_at"
    ordering = ["-active_at", "-id"]
    search_fields = ["^id", "user__username"]
    search_help_text = "The beginning of an id, or a user's name. What people wrote is never searched."

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChatSession]:
        count = Message.objects.filter(session=OuterRef("pk")).order_by().values("session").annotate(n=Count("pk"))
        sessions = with_activity(super().get_queryset(request).select_related("user"))
        return sessions.annotate(messages_stored=Coalesce(Subquery(count.values("n")), 0))

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        shown = ("short_id", "state", "owner", "message_count", "active_at", "created_at")
        return (*shown[:2], "title", *shown[2:]) if may_read(request) else shown

    def get_fields(self, request: HttpRequest, obj: ChatSession | None = None) -> tuple[str, ...]:
        shown = ("id", "owner", "state", "turns", "streams", "created_at", "active_at", "deleted_at")
        return ("id", "title", *shown[1:]) if may_read(request) else shown

    def get_readonly_fields(self, request: HttpRequest, obj: ChatSession | None = None) -> tuple[str, ...]:
        return self.get_fields(request, obj)

    @admin.display(description="id", ordering="id")
    def short_id(self, session: ChatSession) -> str:
        return short(session.id)

    @admin.display(ordering="user__username")
    def owner(self, session: ChatSession) -> str:
        return owner_of(session)

    @admin.display
    def state(self, session: ChatSession) -> SafeString:
        if session.deleted_at is not None:
            return badge("failed", "deleted")
        return badge("streaming", "answering") if getattr(session, "active", False) else badge("completed", "idle")

    @admin.display(description="messages", ordering="messages_stored")
    def message_count(self, session: ChatSession) -> int:
        return int(getattr(session, "messages_stored", 0))

    @admin.display
    def streams(self, session: ChatSession) -> SafeString:
        url = reverse("admin:chat_stream_changelist", query={"session__id__exact": str(session.pk)})
        return format_html('<a href="{}">Streams of this session</a>', url)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response = super().change_view(request, object_id, form_url, extra_context)
        if response.status_code == 200 and may_read(request):
            record(request, ChatSession, [object_id], "Looked at the text; nothing was changed.")
        return response
