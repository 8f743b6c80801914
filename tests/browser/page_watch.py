"""What no page may ever do, whatever the test is about."""

from urllib.parse import urlsplit

from playwright.async_api import ConsoleMessage, Page, Request

REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violation: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
FAILED_REQUEST = "Failed to load resource"


class PageWatch:
    """Collects policy violations, exceptions, console errors, dialogs and requests to other origins."""

    def __init__(self, url: str, *, expect_failures: bool) -> None:
        self.origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        self.expect_failures = expect_failures
        self.wrongs: list[str] = []

    @classmethod
    async def begin(cls, page: Page, url: str, *, expect_failures: bool) -> "PageWatch":
        """`expect_failures`: the test makes requests fail, which browsers write to the console."""
        watch = cls(url, expect_failures=expect_failures)
        await page.add_init_script(REPORT_VIOLATIONS)
        page.on("console", watch._console)
        page.on("pageerror", lambda error: watch.wrongs.append(f"exception: {error}"))
        page.on("dialog", lambda dialog: watch.wrongs.append(f"dialog: {dialog.message}"))
        page.context.on("request", watch._request)
        return watch

    def check(self) -> None:
        assert not self.wrongs, "\n".join(self.wrongs)

    def _console(self, message: ConsoleMessage) -> None:
        if self.expect_failures and FAILED_REQUEST in message.text:
            return
        if message.type in ("error", "warning"):
            self.wrongs.append(f"console: {message.text} ({message.location.get('url')})")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "data:", "blob:")):
            self.wrongs.append(f"request to {request.url}")
