"""Starting and stopping under servers that tell of it (uvicorn does, Daphne does not: `server.py` drains itself)."""

from django.conf import settings

from jarvis_site.asgi.types import Application, Receive, Scope, Send
from jarvis_site.drain import drain, start


class Lifespan:
    """Answers the lifespan protocol, and drains on its end; all else goes to the application."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.application(scope, receive, send)
            return
        while True:
            event = (await receive())["type"]
            if event == "lifespan.startup":
                start()
            else:
                await drain(settings.SHUTDOWN_GRACE_SECONDS)
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
