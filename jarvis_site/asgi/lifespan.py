"""Starting and stopping under servers that tell of it (uvicorn does, Daphne does not: `server.py` drains itself)."""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from types import FrameType

from django.conf import settings

from jarvis_site.asgi.types import Application, Receive, Scope, Send
from jarvis_site.drain import close, drain, start
from jarvis_site.logging import stop as stop_logging


class Lifespan:
    """Answers the lifespan protocol, and drains on its end; all else goes to the application."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self._draining: asyncio.Task[None] | None = None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "lifespan":
            return self.application(scope, receive, send)
        return self._live(receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            event = (await receive())["type"]
            if event == "lifespan.startup":
                start()
                self._drain_on_signals()
            else:
                await self._drain()
                await close()
                await asyncio.to_thread(stop_logging)  # uvicorn dies by the signal then, without what runs at an exit
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return

    def _drain(self) -> asyncio.Task[None]:
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(drain(settings.SHUTDOWN_GRACE_SECONDS))
        return self._draining

    def _drain_on_signals(self) -> None:
        """uvicorn tells of its end only once all responses have ended, and ours end only once they are told to."""
        if threading.current_thread() is not threading.main_thread():
            return  # no signal comes here
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            server_handler = signal.getsignal(number)
            if not callable(server_handler):
                continue

            def handle(number: int, frame: FrameType | None, then: Callable[..., object] = server_handler) -> None:
                loop.call_soon_threadsafe(self._drain)
                then(number, frame)

            signal.signal(number, handle)
