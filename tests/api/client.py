"""People and programs that talk to the API as they do over HTTP: headers and cookies in, status and JSON out."""

import json
from typing import Any, cast
from uuid import uuid4

import httpx
from django.conf import settings
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIHandler
from django.test import Client

from chat import api_keys
from chat.threads import in_thread

_application = cast(Any, ASGIHandler())  # made here: loading the middleware reads files


class ApiClient:
    """One caller. `post`, `patch` … take a JSON value; `send` takes bytes and headers as they are."""

    def __init__(self, **headers: str) -> None:
        transport = httpx.ASGITransport(_application, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)

    @classmethod
    async def with_key(cls, user: User) -> "ApiClient":
        return cls(Authorization=f"Bearer {await in_thread(api_keys.create_api_key, user)}")

    @classmethod
    async def browser(cls, user: User | None = None) -> "ApiClient":
        """A browser that has opened the page, logged in or not, and sends the CSRF token."""
        browser = cls()
        if user is not None:
            cookies = Client()
            await in_thread(cookies.force_login, user)
            name = settings.SESSION_COOKIE_NAME
            browser.http.cookies.set(name, cookies.cookies[name].value, "localhost.local")
        assert (await browser.http.get("/")).status_code == 200
        browser.http.headers["X-CSRFToken"] = browser.http.cookies["csrftoken"]
        return browser

    async def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> httpx.Response:
        """Header names have `_` for `-`; JSON unless `Content_Type` says otherwise."""
        named = {
            name.replace("_", "-"): value for name, value in {"Content_Type": "application/json", **headers}.items()
        }
        return await self.http.request(method, path, content=body, headers=named)

    async def get(self, path: str) -> httpx.Response:
        return await self.send("GET", path)

    async def post(self, path: str, value: Any = None) -> httpx.Response:
        return await self.send("POST", path, b"" if value is None else json.dumps(value).encode())

    async def patch(self, path: str, value: Any) -> httpx.Response:
        return await self.send("PATCH", path, json.dumps(value).encode())

    async def delete(self, path: str) -> httpx.Response:
        return await self.send("DELETE", path)

    async def new_session(self, title: str = "") -> dict[str, Any]:
        response = await self.post("/api/sessions/", {"title": title})
        assert response.status_code == 201, response.content
        made: dict[str, Any] = response.json()
        return made


async def user(name: str = "", *, is_staff: bool = False) -> User:
    """A user without a password: hashing one takes longer than a test."""
    return await in_thread(
        lambda: User.objects.create_user(name or uuid4().hex, is_staff=is_staff, is_superuser=is_staff)
    )


def error_of(response: httpx.Response) -> tuple[int, str, str | None]:
    """(status, code, field) of a refusal; checks that it has the shape that all of them have."""
    error = response.json()["error"]
    assert response.json().keys() == {"error"}
    assert {"code", "message"} <= error.keys() <= {"code", "message", "field"}
    assert error["message"]
    assert response.headers["Content-Type"].startswith("application/json")
    return response.status_code, error["code"], error.get("field")
