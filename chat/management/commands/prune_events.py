"""`python manage.py prune_events`: what every server does by itself from time to time, now."""

from collections import Counter
from typing import Any

from asgiref.sync import async_to_sync
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from chat import upkeep
from events import bus
from events.exceptions import EventsError


class Command(BaseCommand):
    help = "Delete events past their retention, what deleted sessions and absent browsers left, old idempotency keys."

    def handle(self, *args: Any, **options: Any) -> str:
        try:
            gone = async_to_sync(_tidy)()
        except EventsError as error:
            raise CommandError(str(error)) from None
        return (
            f"{gone['events']} events, {gone['sessions']} deleted sessions, {gone['browsers']} absent browsers"
            f" and {gone['idempotency_keys']} idempotency keys are gone."
        )


async def _tidy() -> Counter[str]:
    try:
        return await upkeep.tidy(timezone.now())
    finally:
        await bus.close_current()
