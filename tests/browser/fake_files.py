"""The page itself and its files, as the fake server gives them: the real template, under the real policy."""

import asyncio
import mimetypes
import uuid
from pathlib import Path

from aiohttp import web
from django.template.loader import render_to_string

from chat.views import CONTENT_SECURITY_POLICY

STATIC = Path(__file__).resolve().parents[2] / "chat" / "static"


async def page(request: web.Request) -> web.Response:
    shown = {"session_id": request.match_info.get("id")}
    html = await asyncio.to_thread(render_to_string, "chat/page.html", shown)
    response = web.Response(text=html, content_type="text/html")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.set_cookie("csrftoken", uuid.uuid4().hex)
    return response


async def static(request: web.Request) -> web.Response:
    path = request.match_info["path"]
    body = await asyncio.to_thread((STATIC / path).read_bytes)
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return web.Response(body=body, content_type=kind, headers={"Cache-Control": "max-age=60"})
