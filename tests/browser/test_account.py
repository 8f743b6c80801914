"""Who is logged in, and the way in and out; on a real server."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.chat_page import ChatPage
from tests.browser.conftest import ROOT, OpenPage
from tests.browser.model import Model
from tests.browser.test_accessibility import LOOKS, check

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "difference engine"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def user(served: str, data_dir: Path) -> str:
    """A person with a password, and a name that is too long for its place."""
    name = "ada.king-noel.countess.of.lovelace@analytical-engine.example"
    own = {
        "JARVIS_DATA_DIR": str(data_dir),
        "DJANGO_SUPERUSER_USERNAME": name,
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        "DJANGO_SUPERUSER_EMAIL": "",
    }
    command = [sys.executable, str(ROOT / "manage.py"), "createsuperuser", "--noinput"]
    made = await asyncio.create_subprocess_exec(*command, env={**os.environ, **own}, stdout=asyncio.subprocess.DEVNULL)
    assert await made.wait() == 0
    return name


async def log_in(page: Page, name: str) -> None:
    await page.get_by_role("link", name="Log in").click()
    await page.get_by_label("Username").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()


@pytest.mark.parametrize("look", LOOKS)
async def test_the_list_shows_who_is_logged_in(
    served: str, user: str, model: Model, open_page: OpenPage, look: str
) -> None:
    page = await open_page(served, reduced_motion="reduce", **LOOKS[look])
    chat, show = ChatPage(page), page.get_by_role("button", name="Show chats")
    await chat.ask(f"Before the log-in, {look}")
    await chat.last_answer_is("completed")
    address = page.url
    if look == "phone":
        await show.click()
    await log_in(page, user)
    await expect(page).to_have_url(address)
    await expect(chat.prompts).to_have_text(f"Before the log-in, {look}")
    if look == "phone":
        await show.click()
    log_out = chat.chats.get_by_role("button", name="Log out")
    await expect(chat.chats.get_by_text(user)).to_be_in_viewport()
    await expect(log_out).to_be_in_viewport(ratio=1)
    await expect(chat.chats.get_by_role("link", name="Log in")).to_have_count(0)
    await check(page)


async def test_logging_out_leaves_nothing_to_who_comes_next(
    served: str, user: str, model: Model, open_page: OpenPage
) -> None:
    first = ChatPage(await open_page(served))
    await log_in(first.page, user)
    await first.ask("A private matter")
    await first.last_answer_is("completed")
    second = ChatPage(await open_page(first.page.url, expect_failures=True))
    await second.is_connected()
    await first.page.bring_to_front()
    await first.composer.fill("Not sent yet")
    await first.chats.get_by_role("link", name="New chat").click()
    await first.composer.fill("Nor this")
    await first.chats.get_by_role("button", name="Log out").click()
    await expect(first.chats.get_by_role("link", name="Log in")).to_be_visible()
    await expect(first.page).to_have_url(f"{served}/")
    await expect(first.composer).to_have_value("")
    await expect(first.chats.get_by_text("No chats yet.")).to_be_visible()
    assert "Not sent yet" not in await first.page.evaluate("() => JSON.stringify({ ...localStorage })")
    await second.page.bring_to_front()  # its viewer's access is checked again with its heartbeat
    told = re.compile("There is no such chat|You are logged out")
    await expect(second.page.get_by_role("heading", name=told)).to_be_visible()


async def test_a_page_of_who_was_logged_in_before_does_nothing_for_who_is_now(
    served: str, user: str, model: Model, open_page: OpenPage
) -> None:
    first = ChatPage(await open_page(served))
    await log_in(first.page, user)
    await expect(first.chats.get_by_text(user)).to_be_visible()
    second = ChatPage(await open_page(served, expect_failures=True))
    await expect(second.chats.get_by_text(user)).to_be_visible()
    await first.page.bring_to_front()
    await first.chats.get_by_role("button", name="Log out").click()
    await expect(first.chats.get_by_role("link", name="Log in")).to_be_visible()
    await second.page.bring_to_front()
    await second.composer.fill("A private matter")
    await second.composer.press("Enter")
    told = "Not sent. Somebody else is logged in here now, or nobody. Reload the page."
    await expect(second.page.get_by_role("alert").last).to_contain_text(told)
    await expect(second.composer).to_have_value("A private matter")
    await first.page.reload()
    await expect(first.chats.get_by_text("No chats yet.")).to_be_visible()
    assert model.prompts == []
