"""What all our admin pages share: looking, not touching, and who may read people's text."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat.models import ChatSession
from chat.stream_state import StreamState

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
else:  # generic for type checkers only

    class ModelAdmin(admin.ModelAdmin):
        def __class_getitem__(cls, _: object) -> type:
            return cls

    class TabularInline(admin.TabularInline):
        def __class_getitem__(cls, _: object) -> type:
            return cls


__all__ = ["ModelAdmin", "ReadOnlyAdmin", "TabularInline", "badge", "may_read", "owner_of", "record", "short"]

M = TypeVar("M", bound=Model)
_PAGES_THAT_DELETE_USERS = {"auth_user_delete", "auth_user_changelist"}


class ReadOnlyAdmin(ModelAdmin[M]):
    """Nothing is added, changed or deleted here, but for what goes with a user who is deleted."""

    show_full_result_count = False

    class Media:
        css = {"all": ["chat/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        # Django refuses to delete a user unless everything of theirs may be deleted, and asks each page about it.
        at = request.resolver_match
        return at is not None and at.url_name in _PAGES_THAT_DELETE_USERS and request.user.has_perm("auth.delete_user")


def may_read(request: HttpRequest) -> bool:
    """Whether this person may read what others wrote, titles, errors and options included."""
    return request.user.has_perm("chat.view_text")


def owner_of(session: ChatSession) -> str:
    return "anonymous browser" if session.user is None else session.user.get_username()


def short(id: UUID) -> str:
    """As the lists show it, whose columns are to fit a laptop's width; it can be searched for."""
    return f"{str(id)[:8]}…"


def record(request: HttpRequest, model: type[Model], ids: Iterable[object], what: str) -> None:
    """Writes down, in the admin's own log, what this person did with these objects; never what is in them."""
    assert request.user.pk is not None
    kind = ContentType.objects.get_for_model(model)
    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=request.user.pk,
            content_type=kind,
            object_id=str(pk),
            object_repr=str(pk),
            action_flag=CHANGE,
            change_message=what,
        )
        for pk in ids
    )


def badge(state: StreamState | str, text: Any = None) -> SafeString:
    return format_html('<span class="badge badge-{}">{}</span>', str(state), text or str(state))
