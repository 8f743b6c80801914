"""The operators' view: metadata for staff, text only for those who may read it, and nothing to edit."""

from django.contrib import admin

from chat.admin.api_keys import ApiKeyAdmin
from chat.admin.sessions import SessionAdmin
from chat.admin.streams import StreamAdmin

__all__ = ["ApiKeyAdmin", "SessionAdmin", "StreamAdmin"]

admin.site.site_header = admin.site.site_title = "Jarvis"
admin.site.index_title = "Administration"
admin.site.enable_nav_sidebar = False  # the streams list needs its width
