"""The whole site: the admin, the chat, and what is measured."""

from django.contrib import admin
from django.urls import include, path

from jarvis_site.metrics import metrics

urlpatterns = [
    path("admin/", admin.site.urls),
    path("metrics", metrics, name="metrics"),
    path("", include("chat.urls")),
]

handler400 = "chat.views.bad_request"
handler403 = "chat.views.forbidden"
handler404 = "chat.views.not_found"
handler500 = "chat.views.server_error"
