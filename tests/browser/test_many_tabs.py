"""A browser has six connections for an origin: twenty tabs must share them, on a real server."""

import asyncio

import pytest
from playwright.async_api import expect

from tests.browser.chat_page import ChatPage
from tests.browser.conftest import OpenPage
from tests.browser.model import Model

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]


async def test_twenty_visible_tabs_of_one_chat_all_see_the_answer(
    served: str, model: Model, open_page: OpenPage
) -> None:
    """As if each were a window of its own: none is hidden."""
    first = ChatPage(await open_page(served))
    await first.ask("Hello")
    await first.last_answer_is("completed")
    tabs = [first, *[ChatPage(await open_page(first.page.url)) for _ in range(19)]]
    for tab in tabs:
        await expect(tab.texts).to_have_text("You said: Hello", timeout=30_000)
    speech = model.will_speak().say("To all ")
    await tabs[-1].ask("And now?")
    await expect(tabs[-1].texts.last).to_have_text("To all")
    speech.say("of you.").end()
    async with asyncio.timeout(30):
        for tab in tabs:
            await expect(tab.texts.last).to_have_text("To all of you.", timeout=30_000)
    await tabs[0].ask("From the first?")
    await expect(tabs[0].texts.last).to_have_text("You said: From the first?")
