"""Every address of the chat. Django answers `urlpatterns`, Channels consumers answer `stream_urlpatterns`."""

from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, URLResolver, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from chat import views
from chat.api import api
from chat.consumers import Prompt, SessionEvents
from chat.health import Readiness, healthz
from chat.openapi import openapi

stream_urlpatterns: list[URLPattern] = [  # the consumers: they come before Django's
    path("api/sessions/<uuid:session_id>/streams/", Prompt.as_asgi()),  # type: ignore[arg-type]
    path("api/sessions/<uuid:session_id>/events/", SessionEvents.as_asgi()),  # type: ignore[arg-type]
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.page, name="chat"),
    path("s/<uuid:session_id>/", views.page, name="session"),
    path("login/", views.Login.as_view(), name="login"),
    path("logout/", LogoutView.as_view(next_page="chat"), name="logout"),
    path("healthz", healthz, name="healthz"),
    path("readyz", csrf_exempt(require_safe(Readiness().readyz)), name="readyz"),
    path("api/openapi.json", openapi, name="openapi"),
    path("api/", api.urls),
    re_path(r"^(?:api|v1)(?:/|$)", views.nothing_here),
]
