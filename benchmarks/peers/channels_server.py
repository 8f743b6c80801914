"""`python channels_server.py PORT`: plain Channels as its tutorial shows it: a WebSocket consumer, a group a room,
`group_send` for each message, the in-memory layer, Daphne."""

import asyncio
import json
import sys
from urllib.parse import parse_qs

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["daphne", "channels"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402
from source import tokens as source  # noqa: E402


class Room(AsyncWebsocketConsumer):
    task = None

    async def connect(self):
        query = {name: values[0] for name, values in parse_qs(self.scope["query_string"].decode()).items()}
        self.group = f"chat_{query['channel']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        if "at" in query:
            self.task = asyncio.create_task(self.generate(query))

    async def disconnect(self, code):
        if self.task is not None:
            self.task.cancel()
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def generate(self, query):
        async for token in source(float(query["at"]), int(query["tokens"]), float(query["rate"])):
            await self.channel_layer.group_send(self.group, {"type": "chat.message", "message": token})

    async def chat_message(self, event):
        await self.send(text_data=json.dumps({"message": event["message"]}, ensure_ascii=False))


app = ProtocolTypeRouter({"websocket": URLRouter([path("stream", Room.as_asgi()), path("watch", Room.as_asgi())])})

if __name__ == "__main__":
    from daphne.server import Server

    endpoint = f"tcp:port={sys.argv[1]}:interface=127.0.0.1:backlog=2048"
    Server(application=app, endpoints=[endpoint], verbosity=0).run()
