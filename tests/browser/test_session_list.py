"""The list of chats, on a real server."""

import pytest
from playwright.async_api import expect

from tests.browser.chat_page import ChatPage
from tests.browser.conftest import OpenPage
from tests.browser.model import Model

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]


async def test_chats_are_switched_without_loading_the_page_again(
    served: str, model: Model, open_page: OpenPage
) -> None:
    chat = ChatPage(await open_page(served))
    await chat.ask("First chat")
    await expect(chat.texts).to_have_text("You said: First chat")
    await chat.page.evaluate("() => { window.marked = true; }")
    await chat.chats.get_by_role("link", name="New chat").click()
    await expect(chat.page).to_have_url(f"{served}/")
    await expect(chat.prompts).to_have_count(0)
    await chat.ask("Second chat")
    await expect(chat.texts).to_have_text("You said: Second chat")
    await chat.chats.get_by_role("link", name="First chat").click()
    await expect(chat.prompts).to_have_text("First chat")
    await chat.page.go_back()
    await expect(chat.prompts).to_have_text("Second chat")
    assert await chat.page.evaluate("() => window.marked")


async def test_a_chat_is_renamed_in_every_tab(served: str, model: Model, open_page: OpenPage) -> None:
    first = ChatPage(await open_page(served))
    await first.ask("Old name")
    await expect(first.row("Old name")).to_be_visible()
    second = ChatPage(await open_page(first.page.url))
    await second.is_connected()
    await first.page.bring_to_front()
    await first.row("Old name").hover()
    await first.page.get_by_role("button", name="Rename Old name").click()
    editor = first.page.get_by_role("textbox", name="New title")
    await expect(editor).to_be_focused()
    await editor.fill("New name")
    await editor.press("Enter")
    for tab in (first, second):
        await expect(tab.row("New name")).to_be_visible()
        await expect(tab.page.get_by_role("heading", level=1)).to_have_text("New name")


async def test_escape_leaves_the_name_as_it_was(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    await chat.ask("Keep me")
    await chat.row("Keep me").hover()
    await chat.page.get_by_role("button", name="Rename Keep me").click()
    editor = chat.page.get_by_role("textbox", name="New title")
    await editor.fill("Changed")
    await editor.press("Escape")
    await expect(editor).to_have_count(0)
    await expect(chat.row("Keep me")).to_be_visible()


async def test_deleting_asks_first_and_then_is_seen_in_every_tab(
    served: str, model: Model, open_page: OpenPage
) -> None:
    # Its own connection ends, too, and may ask once more for what is gone before the page has left it.
    first = ChatPage(await open_page(served, expect_failures=True))
    await first.ask("Short-lived")
    await expect(first.row("Short-lived")).to_be_visible()
    second = ChatPage(await open_page(first.page.url, expect_failures=True))
    await second.is_connected()
    await first.page.bring_to_front()
    dialog = first.page.get_by_role("dialog")
    delete = first.page.get_by_role("button", name="Delete Short-lived")
    await first.row("Short-lived").hover()
    await delete.click()
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(first.row("Short-lived")).to_be_visible()
    await first.row("Short-lived").hover()
    await delete.click()
    await dialog.get_by_role("button", name="Delete").click()
    await expect(first.page).to_have_url(f"{served}/")
    await expect(second.page.get_by_role("heading", name="This chat was deleted.")).to_be_visible()
    for tab in (first, second):
        await expect(tab.row("Short-lived")).to_have_count(0)


async def test_the_search_finds_a_chat_by_its_title(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    await chat.ask("About zebras")
    await chat.chats.get_by_role("link", name="New chat").click()
    await chat.ask("About otters")
    await expect(chat.row("About otters")).to_be_visible()
    await chat.page.get_by_role("searchbox", name="Search chats").fill("zebra")
    await expect(chat.row("About otters")).to_have_count(0)
    await expect(chat.row("About zebras")).to_be_visible()


async def test_an_answering_chat_is_marked(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    speech = model.will_speak()
    await chat.ask("Take your time")
    await expect(chat.row("Take your time").get_by_title("Answering")).to_be_visible()
    speech.say("Done.").end()
    await expect(chat.row("Take your time").get_by_title("Answering")).to_have_count(0)
