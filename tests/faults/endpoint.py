"""What the model's endpoint says about the requests with one prompt: a second witness of what the servers did."""

import asyncio
from typing import Any

from tests.client import Client


async def records(client: Client, endpoint: str, prompt: str) -> list[dict[str, Any]]:
    """What it has recorded of each."""
    async with client.http.get(endpoint.removesuffix("/v1") + "/_record") as response:
        return [record for record in (await response.json())["records"] if prompt in record["prompt"]]


async def until_asked(client: Client, endpoint: str, prompt: str) -> None:
    async with asyncio.timeout(10):
        while not await records(client, endpoint, prompt):
            pass


async def closed_at(client: Client, endpoint: str, prompt: str) -> float:
    """In monotonic seconds."""
    async with asyncio.timeout(10):
        while True:
            times = [record["closed_at"] for record in await records(client, endpoint, prompt)]
            if all(times):
                return max(map(float, times))
