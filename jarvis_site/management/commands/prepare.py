"""`python manage.py prepare`: what must be there before the processes start; with nothing to do, it is quick."""

import secrets
from typing import Any

from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

from chat.api_keys import create_api_key

ADMIN = "admin"


class Command(BaseCommand):
    help = "Migrates the database, and makes the first user and API key if there is no user yet."
    requires_system_checks = []  # `serve` makes them, and this has no time to lose

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            _migrate()
            if not User.objects.exists():
                self._make_first_user()
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}") from None

    def _make_first_user(self) -> None:
        password = secrets.token_urlsafe(12)
        with transaction.atomic():
            key = create_api_key(User.objects.create_superuser(ADMIN, password=password))
        self.stdout.write(
            "\nThis is the first start. Write these down, they are shown only now:\n"
            f"  /admin/    user {ADMIN}, password {password}\n"
            f"  API key    {key}\n"
        )


def _migrate() -> None:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", interactive=False, verbosity=0, skip_checks=True)
