"""`python manage.py serve`: one process, ready for connections when it says so."""

# mypy: allow-untyped-calls
import fcntl
import os
import resource
import socket
import threading
from argparse import SUPPRESS, ArgumentParser
from typing import Any

from daphne.utils import import_by_path
from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection, connections
from django.db.migrations.executor import MigrationExecutor
from twisted.internet.endpoints import AdoptedStreamServerEndpoint

from jarvis_site.logging import stop as stop_logging
from jarvis_site.server import Server, reactor

LEAVE_SECONDS = 1.0  # for the threads to end, once everything else has
BACKLOG = 2048  # Twisted's 50 makes a burst of 400 connections wait for SYN retries: 10 s instead of 4 s


class Command(BaseCommand):
    help = "Serves the site. When the database is SQLite, migrations are applied first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.HOST, help="the address to listen on (HOST, %(default)s)")
        parser.add_argument("--port", default=settings.PORT, type=int, help="0: any free one (PORT, %(default)s)")
        parser.add_argument("--fd", type=int, help="the descriptor of a socket that listens already; may be shared")
        parser.add_argument("--application", default="jarvis_site.asgi:application", help=SUPPRESS)

    def handle(self, *, host: str, port: int, fd: int | None, application: str, **options: Any) -> None:
        listener = _listen(host, port) if fd is None else _adopt(fd)
        with listener:
            if settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
                _migrate()
            else:
                _refuse_unmigrated()
            _raise_descriptor_limit()
            address = _address(listener)
            listeners = [listener]
            if settings.METRICS_PORT:
                listeners.append(_listen("127.0.0.1", settings.METRICS_PORT, "another with METRICS_PORT"))
            families = [each.family for each in listeners]
            sockets = zip([each.detach() for each in listeners], families, strict=True)
            server = Server(
                application=import_by_path(application),
                endpoints=[AdoptedStreamServerEndpoint(reactor, fd, family) for fd, family in sockets],
                ready_callable=lambda: self._say_ready(address),
            )
        server.run()
        _leave_soon()

    def _say_ready(self, address: str) -> None:
        self.stdout.write(f"Jarvis is ready at http://{address}/")
        self.stdout.flush()


def _leave_soon() -> None:
    """The interpreter waits for all threads at its end, also for one that a database does not answer."""

    def leave() -> None:
        try:
            stop_logging()
        finally:
            os._exit(0)

    timer = threading.Timer(LEAVE_SECONDS, leave)
    timer.daemon = True
    timer.start()


def _listen(host: str, port: int, choose: str = "others with HOST and PORT") -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise CommandError(f"Cannot listen on {host}, port {port}: {error}. Choose {choose}.") from None


def _adopt(fd: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=fd)
        if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return listener
    except OSError as error:
        raise CommandError(f"--fd {fd}: {error}.") from None
    raise CommandError(f"--fd {fd}: this socket does not listen.")


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _migrate() -> None:
    """One process at a time: several may be started at once on an empty data directory."""
    with open(settings.DATA_DIR / "migrate.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            call_command("migrate", interactive=False, verbosity=0, skip_checks=True)
        except DatabaseError as error:
            raise CommandError(f"The database cannot be migrated: {error}") from None
        finally:
            connections.close_all()


def _refuse_unmigrated() -> None:
    """A database that many processes share is migrated by whoever deploys them, once."""
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise CommandError("The database is not migrated: run `prepare` or `migrate` first, as you run `serve`.")
    except DatabaseError as error:
        raise CommandError(f"The database cannot be used: {error}") from None
    finally:
        connections.close_all()


def _raise_descriptor_limit() -> None:
    """A connection is a descriptor, and many systems give a process 1,024 unless it asks for more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
