"""`python manage.py create_api_key USERNAME`: prints a new key, once, and nothing else."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from chat.api_keys import create_api_key


class Command(BaseCommand):
    help = "Make an API key for a user and print it. It cannot be shown again: only its digest is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--create-user", action="store_true", help="make the user, without a password, if missing")

    def handle(self, *args: Any, username: str, create_user: bool, **options: Any) -> str:
        users = get_user_model()._default_manager
        user = users.filter(username=username).first()
        if user is None and not create_user:
            raise CommandError(f"There is no user {username!r}; add --create-user to make one.")
        if user is None:
            user = get_user_model()(username=username)
            user.set_unusable_password()
            try:
                user.full_clean()
            except ValidationError as error:
                raise CommandError(" ".join(error.messages)) from None
            user.save()
        if not user.is_active:
            raise CommandError(f"The user {username!r} is not active: a key would be refused.")
        return create_api_key(user)
