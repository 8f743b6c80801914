"""API keys: whose they are, and their end. A key itself is shown once, on the page that answers its creation."""

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from chat import api_keys
from chat.admin.read_only import ReadOnlyAdmin, badge
from chat.models import ApiKey


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin[ApiKey]):
    list_display = ["hint", "user", "state", "created_at", "revoked_at"]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter)]
    list_select_related = ["user"]
    date_hierarchy = "created_at"
    ordering = ["-created_at"]
    search_fields = ["hint", "user__username"]
    search_help_text = "A key's visible part, or a user's name."
    actions = ["revoke"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("chat.add_apikey")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("chat.change_apikey")

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return ("user",) if obj is None else ("hint", "user", "state", "created_at", "revoked_at")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return () if obj is None else self.get_fields(request, obj)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        # A key opens all chats of its user: only a superuser makes one for somebody else.
        users = get_user_model()._default_manager.filter(is_active=True)
        kwargs["queryset"] = users if request.user.is_superuser else users.filter(username=request.user.get_username())
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        cast(Any, request).issued_key = api_keys.issue(obj)  # for `response_add`, and nowhere else

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Not by way of a message: those travel in a cookie, or rest in the database."""
        context = {
            **self.admin_site.each_context(request),
            "title": "The new API key",
            "opts": self.opts,
            "media": self.media,
            "api_key": obj,
            "key": cast(Any, request).issued_key,
        }
        return TemplateResponse(request, "admin/chat/apikey/created.html", context)

    @admin.display
    def state(self, api_key: ApiKey) -> SafeString:
        return badge("completed", "valid") if api_key.revoked_at is None else badge("failed", "revoked")

    @admin.action(description="Revoke selected keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[ApiKey]) -> None:
        valid = list(chosen.filter(revoked_at=None))
        for api_key in valid:
            api_keys.revoke(api_key)
            self.log_change(request, api_key, "Revoked.")
        self.message_user(request, f"Revoked {len(valid)} keys.", messages.SUCCESS)
