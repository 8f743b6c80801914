"""Runs the embedded model beside the web process, until told to end."""

import asyncio
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from chat.model_choice import ModelUnavailable, choose_model
from chat.model_details import ModelDetails, remove_details, write_details
from chat.model_watch import ModelWatch


class Command(BaseCommand):
    help = "Runs the embedded language model. Ends by SIGTERM or SIGINT only: whatever happens to the model."
    requires_system_checks = []  # `serve` makes them; the model need not wait for it

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        stop = asyncio.Event()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
        if settings.CHAT_PROVIDER_URL:
            remove_details(settings.DATA_DIR)
            self._say(f"The model is ready elsewhere: {settings.CHAT_PROVIDER_URL} answers, nothing to run here.")
            await stop.wait()
            return
        try:
            model = choose_model(settings.CHAT_MODEL_PATH, settings.CHAT_MODEL)
        except ModelUnavailable as reason:
            await self._stay_down(str(reason), stop)
        else:
            await ModelWatch(model, settings.DATA_DIR).run(stop)

    async def _stay_down(self, message: str, stop: asyncio.Event) -> None:
        """Waits: an exit would end the web process too, where both are started together."""
        write_details(settings.DATA_DIR, ModelDetails(settings.CHAT_MODEL, "down", message=message))
        self.stderr.write(message)
        self.stderr.flush()
        await stop.wait()
        remove_details(settings.DATA_DIR)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
