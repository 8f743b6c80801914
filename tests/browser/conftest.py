"""Chromium, and the servers it talks to. Every page that a test opens is watched: see `PageWatch`."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.blocking import assert_nothing_blocked, watched
from tests.browser.fake_server import FakeServer
from tests.browser.model import Model
from tests.browser.model_endpoint import ModelEndpoint
from tests.browser.page_watch import PageWatch

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=15_000)
OpenPage = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def endpoint() -> AsyncIterator[ModelEndpoint]:
    endpoint = ModelEndpoint()
    await endpoint.start()
    yield endpoint
    await endpoint.stop()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the real server keeps everything."""
    return tmp_path_factory.mktemp("data")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served(endpoint: ModelEndpoint, data_dir: Path) -> AsyncIterator[str]:
    """The address of a real server that asks the scripted model."""
    settings = {
        "JARVIS_DATA_DIR": str(data_dir),
        "PORT": "0",
        "CHAT_PROVIDER_URL": endpoint.url,
        "CHAT_MODEL": "scripted",
        "EVENTS_HEARTBEAT_SECONDS": "2",
        "SHUTDOWN_GRACE_SECONDS": "0.5",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "manage.py"),
        "serve",
        cwd=ROOT,
        env={**os.environ, **watched(data_dir), **settings},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while not (line := await process.stdout.readline()).startswith(b"Jarvis is ready at "):
                assert line, "the server ended before it was ready"
        yield line.decode().split()[-1].rstrip("/")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    assert_nothing_blocked(data_dir)


@pytest_asyncio.fixture(loop_scope="session")
async def fake() -> AsyncIterator[FakeServer]:
    server = FakeServer()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def modules(browser: Browser) -> AsyncIterator[Page]:
    """A page to run the page's modules in, under its policy; its own state does not matter."""
    server = FakeServer()
    await server.start()
    context = await browser.new_context()
    page = await context.new_page()
    watch = await PageWatch.begin(page, server.url, expect_failures=False)
    await page.goto(server.url)
    yield page
    await context.close()
    await server.stop()
    watch.check()


@pytest.fixture
def model(endpoint: ModelEndpoint) -> Model:
    """What the real server's model says in this test."""
    endpoint.model = Model()
    return endpoint.model


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser) -> AsyncIterator[OpenPage]:
    """`await open_page(url, ...)`; the pages of one test share a browser context, if they do not want their `own`.

    `expect_failures`: requests will fail. `clock`: the test moves the page's clock. All else are options of a context
    of its own.
    """
    async with AsyncExitStack() as stack:
        watches: list[PageWatch] = []
        shared: list[BrowserContext] = []

        async def new_context(**options: Any) -> BrowserContext:
            context = await browser.new_context(**options)
            context.set_default_timeout(15_000)
            stack.push_async_callback(context.close)
            return context

        async def open_it(
            url: str, *, expect_failures: bool = False, own: bool = False, clock: bool = False, **options: Any
        ) -> Page:
            if own or options or not shared:
                context = await new_context(**options)
                if not (own or options):
                    shared.append(context)
            else:
                context = shared[0]
            page = await context.new_page()
            watches.append(await PageWatch.begin(page, url, expect_failures=expect_failures))
            if clock:
                await page.clock.install()
            await page.goto(url)
            return page

        yield open_it
        for watch in watches:
            watch.check()
