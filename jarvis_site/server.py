"""Daphne, with what it lacks for long streams: whole requests only, backpressure, safe failures, an ordered end.

What is overridden are methods that Daphne's `Server`, `HTTPFactory` and `WebRequest` call by name; the reasons stand
beside each. Importing this installs Twisted's reactor (`reactor.py`).
"""

# mypy: disallow-subclassing-any=False, allow-untyped-calls
import asyncio
import contextlib
import resource
import signal
import socket
import sys
import time
from collections.abc import Collection, Coroutine
from functools import partial
from typing import Any

import structlog
from daphne.server import Server as DaphneServer
from django.conf import settings
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.logger import FilteringLogObserver, LogLevel, LogLevelFilterPredicate, STDLibLogObserver, globalLogBeginner

from events.consumers import WRITE
from jarvis_site.asgi.response_guard import ABORT
from jarvis_site.connection import Connection
from jarvis_site.drain import close, drain, start
from jarvis_site.messages import Messages
from jarvis_site.patience import CLEANUP_SECONDS, FLUSH_SECONDS
from jarvis_site.reactor import twisted_loop
from jarvis_site.request import Factory, Request

reactor: Any = installed_reactor
log = structlog.get_logger(__name__)

TURNED_AWAY = 200  # connections at most that are being told that there are too many; more are cut without a word
SPARE_DESCRIPTORS = TURNED_AWAY + 200  # of the process's limit, for files, databases and models
# Python's own 5 ms are what the log's writer waits for the interpreter, again and again, beside a busy event loop.
SWITCH_SECONDS = 0.001
BURST = 100  # events that one response may send before others get their turn, some 2 ms

# On the listening socket, from which Linux copies them to every connection. A peer that has vanished is noticed within
# half a minute; the kernel buffers what is in flight and little more, so that it is known who reads and who does not.
_SOCKET_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
    (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 128 << 10),
    # Left to itself the kernel takes up to 4 MiB for who does not read, more than a response has. It doubles this,
    # within `net.core.wmem_max`; a connection gets so much in each round trip at most, which is plenty for text.
    (socket.SOL_SOCKET, socket.SO_SNDBUF, 256 << 10),
)


class Server(DaphneServer):
    """`stop()` drains: see `kill_all_applications`. A second SIGINT waits for nothing but the cleanup."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.max_body_bytes: int = settings.CHAT_MAX_BODY_BYTES
        self.request_timeout_seconds: float = settings.REQUEST_TIMEOUT_SECONDS
        self.send_timeout_seconds: float = settings.SEND_TIMEOUT_SECONDS
        kwargs["request_buffer_size"] = self.max_body_bytes + 1  # a body is one message
        super().__init__(*args, **{**kwargs, "server_name": ""})
        self.max_connections = min(settings.MAX_CONNECTIONS, _descriptors() - SPARE_DESCRIPTORS)
        self.open_connections: set[Connection] = set()
        self.turned_away: set[Connection] = set()
        self._ports: list[Any] = []
        self._stopping = False
        self._patience: asyncio.Timeout | None = None
        self._all_closed = asyncio.Event()

    def run(self) -> None:
        """Daphne's, without its WebSockets, and with Twisted's warnings in our log instead of nowhere."""
        sys.setswitchinterval(SWITCH_SECONDS)
        self.connections: dict[Request, dict[str, Any]] = {}
        log_beginner: Any = globalLogBeginner  # typed by zope interfaces, which mypy does not know
        log_beginner.beginLoggingTo([_log_of_twisted()], redirectStandardIO=False, discardBuffer=True)
        asyncio.set_event_loop(twisted_loop)
        factory = Factory(self)
        for endpoint in self.endpoints:
            if isinstance(endpoint, str):
                endpoint = serverFromString(reactor, endpoint)
            listening = endpoint.listen(factory)
            listening.addCallbacks(self.listen_success, self.listen_error)
        reactor.callLater(1, self.application_checker)
        reactor.callLater(1, self.timeout_checker)
        reactor.addSystemEventTrigger("before", "shutdown", self.kill_all_applications)
        twisted_loop.call_soon(self._begin)
        if not self.abort_start:
            reactor.run(installSignalHandlers=False)

    def _begin(self) -> None:
        """The first that the loop runs. Before, uvloop loses signals for which it has a handler."""
        if self.signal_handlers:
            twisted_loop.add_signal_handler(signal.SIGTERM, self.stop)
            twisted_loop.add_signal_handler(signal.SIGINT, self._interrupted)
        start()  # Daphne knows no lifespan
        if self.ready_callable:  # it writes to a console, which may be slow
            twisted_loop.run_in_executor(None, self.ready_callable)

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self._ports.append(port)
        with contextlib.suppress(OSError):  # a Unix socket has no such options
            for option in _SOCKET_OPTIONS:
                port.socket.setsockopt(*option)

    def stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            super().stop()

    def _interrupted(self) -> None:
        """The first Ctrl-C drains, the second is impatient; a SIGTERM behind it may be the supervisor's own."""
        if self._patience is not None:
            self._patience.reschedule(twisted_loop.time())
        self.stop()

    # --- connections and requests

    def connection_opened(self, connection: Connection) -> bool:
        """Whether there is room for it; if not, it is told so, and counts no more."""
        has_room = len(self.open_connections) < self.max_connections
        (self.open_connections if has_room else self.turned_away).add(connection)
        if len(self.turned_away) > TURNED_AWAY:
            connection.transport.abortConnection()
        return has_room

    def connection_closed(self, connection: Connection) -> None:
        self.open_connections.discard(connection)
        self.turned_away.discard(connection)
        if self._stopping and not self.open_connections:
            self._all_closed.set()

    def create_application(self, protocol: Request, scope: dict[str, Any]) -> Messages:
        """As Daphne's, with extensions and a leaner queue."""
        messages = Messages()
        scope |= {"asgi": {"version": "3.0"}, "extensions": {ABORT: protocol.abort, WRITE: protocol.write_at_once}}
        application = self.application(scope, messages.get, partial(self.handle_reply, protocol))
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(application)
        return messages

    async def handle_reply(self, protocol: Request, message: dict[str, Any]) -> None:
        """The application's `send`: returns when the transport has room again; nothing happens once all is over.

        Raises ValueError for what is not a valid message. Costs no task and no future unless the client is slow.
        """
        if protocol.is_over:
            return
        if message["type"] != "http.response.body" or not protocol._response_started:
            self.check_headers_type(message)
            protocol.handle_reply(message)
            return
        connection = protocol.channel
        last = not message.get("more_body", False)
        protocol.write_body(message.get("body", b""), last=last)
        if connection.full is not None:
            await connection.full.wait()
        elif connection.burst > BURST:
            connection.burst = 0
            await asyncio.sleep(0)
        if last and not protocol.is_over:
            protocol.finish()

    def application_checker(self) -> None:
        try:
            super().application_checker()
        except Exception:  # Daphne's ends for good with the first exception, and nothing is supervised any more
            log.exception("application_checker_failed")
            reactor.callLater(1, self.application_checker)

    def timeout_checker(self) -> None:
        reactor.callLater(1, self.timeout_checker)
        now = time.monotonic()
        for connection in (*self.open_connections, *self.turned_away):
            connection.check(now)

    def log_cut(self, connection: Connection, unsent_bytes: int) -> None:
        """Someone takes no more of what is sent."""
        log.info("connection_cut", client=connection.getPeer().host, unsent_bytes=unsent_bytes)

    # --- the end

    def kill_all_applications(self) -> Deferred[None]:
        """Runs before the reactor stops, which waits for it. Daphne's fails if any request has no application yet."""
        return Deferred.fromFuture(asyncio.ensure_future(self._shut_down()))

    async def _shut_down(self) -> None:
        """Accept no more, drain, wait; after `SHUTDOWN_GRACE_SECONDS` cancel what is left; close; send the last bytes.

        Takes at most `BEYOND_GRACE_SECONDS` more.
        """
        log.info("server_draining", connections=len(self.open_connections), applications=len(self._applications()))
        for port in self._ports:
            port.stopListening()
        for connection in tuple(self.open_connections):
            connection.close_in_order()
        try:
            async with asyncio.timeout(settings.SHUTDOWN_GRACE_SECONDS) as self._patience:
                await _attempt(drain(settings.SHUTDOWN_GRACE_SECONDS))
                while applications := self._applications():
                    await asyncio.wait(applications)
        except TimeoutError:
            log.warning("server_drain_timeout", applications=len(self._applications()))
        await _cancel(self._applications())
        await _attempt(close())
        await _cancel(asyncio.all_tasks() - {asyncio.current_task()})
        for connection in tuple(self.open_connections):
            connection.loseConnection()
        if self.open_connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_closed.wait(), FLUSH_SECONDS)
        log.info("server_stopped")

    def _applications(self) -> list[asyncio.Task[None]]:
        details = self.connections.values()
        return [task for each in details if (task := each.get("application_instance")) and not task.done()]


def _descriptors() -> float:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if limit == resource.RLIM_INFINITY else limit


def _log_of_twisted() -> Any:
    make: Any = FilteringLogObserver
    return make(STDLibLogObserver("twisted"), [LogLevelFilterPredicate(LogLevel.warn)])


async def _attempt(part: Coroutine[Any, Any, None]) -> None:
    """The end goes on, whatever this part of it raises."""
    try:
        await part
    except Exception:
        log.exception("drain_failed")


async def _cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels all and waits for all, whatever they raise, at most `CLEANUP_SECONDS`."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CLEANUP_SECONDS)
