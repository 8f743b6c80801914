import asyncio
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from jarvis_site.streaming_check import CheckFailed, StreamingCheck

_BAR_CHARACTERS = 20


def _url() -> str:
    """Our own server's. One that listens everywhere is here too, and answers to its loopback address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.HOST, settings.HOST)  # noqa: S104
    return f"http://[{host}]:{settings.PORT}" if ":" in host else f"http://{host}:{settings.PORT}"


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ArgumentTypeError("nothing is checked less than once")
    return count


class Command(BaseCommand):
    help = "Asks a running server two things at once, again and again, and says whether it stands that."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", default=_url(), help="the server (%(default)s)")
        parser.add_argument("--iterations", type=_count, default=5, help="how often, at least once (%(default)s)")
        parser.add_argument("--key", default="", help="an API key; without one it comes as an anonymous browser")
        parser.add_argument("--timeout", type=float, default=120.0, help="seconds an answer may take (%(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            asyncio.run(self._check(options["url"], options["iterations"], options["key"], options["timeout"]))
        except CheckFailed as error:
            raise CommandError(f"✗ {error}") from None
        self.stdout.write("✓✓✓ ALL TESTS PASSED ✓✓✓")

    async def _check(self, url: str, iterations: int, key: str, timeout_seconds: float) -> None:
        async with StreamingCheck(url, key, timeout_seconds) as check:
            baseline = await check.baseline()
            self.stdout.write(
                f"baseline: first token {baseline.first_token_seconds or 0:.2f} s, end {baseline.seconds:.2f} s"
            )
            for number in range(1, iterations + 1):
                done = await check.iteration()
                filled = _BAR_CHARACTERS * number // iterations
                self.stdout.write(
                    f"[{'█' * filled}{'░' * (_BAR_CHARACTERS - filled)}] {number}/{iterations}"
                    f"  A interrupted after {done.interrupted.seconds:.2f} s,"
                    f" B answered after {done.answered.seconds:.2f} s,"
                    f" /healthz in {done.health_seconds * 1000:.0f} ms"
                )
