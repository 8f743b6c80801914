"""The list of chats when the server is slow, fails, or says something new meanwhile; on the fake server."""

import asyncio

import pytest
from aiohttp import web
from playwright.async_api import Page, expect

from tests.browser.chat_page import ChatPage
from tests.browser.conftest import OpenPage
from tests.browser.fake_server import FakeServer

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]


def fill(fake: FakeServer) -> None:
    """With five chats more than one page of the list holds."""
    for number in range(25):
        fake.new_chat(f"Chat number {number}.")


async def look_again(page: Page) -> None:
    """As when its tab is chosen; until the server has answered."""
    async with page.expect_event("requestfinished", lambda request: request.url.endswith("/api/sessions/")):
        await page.evaluate("() => dispatchEvent(new Event('focus'))")


async def lost(request: web.Request) -> None:
    """Not answered."""


async def edit_title(chat: ChatPage, title: str) -> None:
    await chat.row(title).hover()
    await chat.page.get_by_role("button", name=f"Rename {title}").click()


async def test_a_new_title_can_be_typed_while_an_answer_streams(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url))
    speech = fake.model.will_speak().say("One ")
    await chat.ask("Old name")
    await expect(chat.texts).to_have_text("One")
    await edit_title(chat, "Old name")
    editor = chat.page.get_by_role("textbox", name="New title")
    await expect(editor).to_have_value("Old name")
    await editor.fill("New na")
    speech.say("two")
    await expect(chat.texts).to_have_text("One two")
    await expect(editor).to_have_value("New na")


async def test_a_rename_that_fails_puts_only_that_title_back(fake: FakeServer, open_page: OpenPage) -> None:
    fill(fake)
    chat = ChatPage(await open_page(fake.url, expect_failures=True))
    may = asyncio.Event()

    async def late(request: web.Request) -> web.Response:
        await may.wait()
        return web.json_response({"error": {"code": "overloaded", "message": "Too much to do."}}, status=503)

    fake.fail("PATCH session", late)
    await edit_title(chat, "Chat number 24.")
    await chat.page.get_by_role("textbox", name="New title").fill("Lost")
    await chat.page.keyboard.press("Enter")
    await expect(chat.row("Lost")).to_be_visible()
    await chat.page.get_by_role("button", name="Show more").click()
    await expect(chat.chats.get_by_role("listitem")).to_have_count(25)
    may.set()
    await expect(chat.page.get_by_role("alert")).to_have_text("Too much to do.")
    await expect(chat.row("Chat number 24.")).to_be_visible()
    await expect(chat.chats.get_by_role("listitem")).to_have_count(25)


async def test_the_open_chat_keeps_its_title_while_others_are_searched_for(
    fake: FakeServer, open_page: OpenPage
) -> None:
    zebras = fake.new_chat("Zebras")
    fake.new_chat("Otters")
    chat = ChatPage(await open_page(f"{fake.url}/s/{zebras.id}/"))
    title = chat.page.get_by_role("heading", level=1)
    await expect(title).to_have_text("Zebras")
    await chat.page.get_by_role("searchbox", name="Search chats").fill("otter")
    await expect(chat.row("Zebras")).to_have_count(0)
    await expect(chat.row("Otters")).to_be_visible()
    await expect(title).to_have_text("Zebras")
    zebras.title = "Lions"
    await zebras.append("chat.session", title="Lions", deleted=False)
    await expect(title).to_have_text("Lions")


async def test_nothing_is_said_to_be_found_before_the_server_has_looked(fake: FakeServer, open_page: OpenPage) -> None:
    fake.new_chat("Zebras")
    chat = ChatPage(await open_page(fake.url))
    search, nothing = chat.page.get_by_role("searchbox", name="Search chats"), chat.chats.get_by_text("Nothing found.")
    await expect(chat.row("Zebras")).to_be_visible()
    may = asyncio.Event()
    fake.delay("GET sessions", may)
    await search.fill("zeb")
    await expect(chat.row("Zebras")).to_have_count(0)
    assert await nothing.count() == 0
    may.set()
    await expect(chat.row("Zebras")).to_be_visible()
    await search.fill("lion")
    await expect(nothing).to_be_visible()


async def test_a_refresh_does_not_drop_the_rest_of_the_list(fake: FakeServer, open_page: OpenPage) -> None:
    fill(fake)
    chat = ChatPage(await open_page(fake.url))
    await expect(chat.chats.get_by_role("listitem")).to_have_count(20)
    may = asyncio.Event()
    fake.delay("GET sessions", may)
    await chat.page.get_by_role("button", name="Show more").click()
    await fake.until(lambda: not fake.faults["GET sessions"])
    await look_again(chat.page)
    may.set()
    await expect(chat.chats.get_by_role("listitem")).to_have_count(25)


async def test_the_rest_of_the_list_does_not_drop_a_refresh(fake: FakeServer, open_page: OpenPage) -> None:
    fill(fake)
    chat = ChatPage(await open_page(fake.url))
    await expect(chat.chats.get_by_role("listitem")).to_have_count(20)
    fake.new_chat("Made elsewhere")
    may = asyncio.Event()
    fake.delay("GET sessions", may)
    await chat.page.evaluate("() => dispatchEvent(new Event('focus'))")
    await fake.until(lambda: not fake.faults["GET sessions"])
    await chat.page.get_by_role("button", name="Show more").click()
    await expect(chat.chats.get_by_role("listitem")).to_have_count(25)
    may.set()
    await expect(chat.row("Made elsewhere")).to_be_visible()
    await expect(chat.chats.get_by_role("listitem")).to_have_count(26)


async def test_the_rest_of_another_search_is_ignored(fake: FakeServer, open_page: OpenPage) -> None:
    fill(fake)
    fake.new_chat("Otters")
    chat = ChatPage(await open_page(fake.url))
    may = asyncio.Event()
    fake.delay("GET sessions", may)
    await chat.page.get_by_role("button", name="Show more").click()
    await fake.until(lambda: not fake.faults["GET sessions"])
    await chat.page.get_by_role("searchbox", name="Search chats").fill("otter")
    await expect(chat.chats.get_by_role("listitem")).to_have_text(["Otters"])
    async with chat.page.expect_event("requestfinished", lambda request: "before=" in request.url):
        may.set()
    await chat.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    await expect(chat.chats.get_by_role("listitem")).to_have_text(["Otters"])


async def test_a_chat_from_further_down_is_shown_as_it_is_now(fake: FakeServer, open_page: OpenPage) -> None:
    fill(fake)
    oldest = next(iter(fake.chats.values()))
    chat = ChatPage(await open_page(fake.url))
    await chat.page.get_by_role("button", name="Show more").click()
    await expect(chat.chats.get_by_role("listitem").last).to_have_text("Chat number 0.")
    fake.model.will_speak()
    await oldest.ask("Are you there?", fake.model)
    oldest.title = "Used again"
    await look_again(chat.page)
    await expect(chat.chats.get_by_role("listitem").first).to_have_text("Answering: Used again")
    await expect(chat.chats.get_by_role("listitem")).to_have_count(25)


async def test_a_list_that_failed_is_asked_for_again(fake: FakeServer, open_page: OpenPage) -> None:
    fake.new_chat("Kept")
    may = asyncio.Event()
    fake.refuse("GET sessions", 503, "overloaded", "Too much to do.", {"Retry-After": "0.1"})
    fake.fail("GET sessions", lost)
    fake.delay("GET sessions", may)
    chat = ChatPage(await open_page(fake.url, expect_failures=True))
    await expect(chat.page.get_by_role("alert")).to_have_text("The server cannot be reached.")
    may.set()
    await expect(chat.row("Kept")).to_be_visible()
    await expect(chat.page.get_by_role("alert")).to_have_count(0)


async def test_a_list_that_failed_is_asked_for_as_soon_as_there_is_a_network(
    fake: FakeServer, open_page: OpenPage
) -> None:
    fake.new_chat("Kept")
    fake.refuse("GET sessions", 503, "overloaded", "Too much to do.", {"Retry-After": "3600"})
    chat = ChatPage(await open_page(fake.url, expect_failures=True))
    await expect(chat.page.get_by_role("alert")).to_have_text("Too much to do.")
    await chat.page.context.set_offline(True)
    await chat.page.context.set_offline(False)
    await expect(chat.row("Kept")).to_be_visible()
    await expect(chat.page.get_by_role("alert")).to_have_count(0)


async def test_a_chat_further_down_that_another_tab_deletes_is_gone(fake: FakeServer, open_page: OpenPage) -> None:
    fill(fake)
    tabs = [ChatPage(await open_page(fake.url)) for _ in range(2)]
    for tab in tabs:
        await tab.page.get_by_role("button", name="Show more").click()
        await expect(tab.row("Chat number 0.")).to_be_visible()
    first, second = tabs
    await first.page.bring_to_front()
    await first.row("Chat number 0.").hover()
    await first.page.get_by_role("button", name="Delete Chat number 0.").click()
    await first.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    for tab in (first, second):
        await expect(tab.row("Chat number 0.")).to_have_count(0)
        await expect(tab.chats.get_by_role("listitem")).to_have_count(24)
