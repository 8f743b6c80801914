"""Requests as bytes, and short answers: what is not measured."""

import asyncio
import json
from typing import Any


def request(method: str, path: str, headers: dict[str, str] | None = None, body: Any = None) -> bytes:
    """`body`: JSON, or None for none."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


async def fetch(port: int, data: bytes) -> tuple[int, Any]:
    """Status and JSON (None if there is none) of a request, on a connection of its own."""
    data = data.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        body = _unchunked(body)
    return int(head.split(b" ", 2)[1]), json.loads(body) if body else None


def _unchunked(body: bytes) -> bytes:
    parts: list[bytes] = []
    while body:
        size_text, _, body = body.partition(b"\r\n")
        size = int(size_text, 16)
        parts.append(body[:size])
        body = body[size + 2 :]
    return b"".join(parts)
