"""What is said of an answer that cannot be heard of, for now or any more; on the fake server."""

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.chat_page import ChatPage
from tests.browser.conftest import OpenPage
from tests.browser.fake_server import FakeServer

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]

UNAVAILABLE = {
    "deleted": "This chat was deleted.",
    "gone": "There is no such chat.",
    "signed_out": "You are logged out.",
}


@pytest_asyncio.fixture(loop_scope="session")
async def chat(fake: FakeServer, open_page: OpenPage) -> ChatPage:
    """A page in the middle of an answer, whose clock the test moves."""
    page = ChatPage(await open_page(fake.url, expect_failures=True, clock=True))
    fake.model.will_speak().say("Slowly")
    await page.ask("Speak")
    await expect(page.spoken).to_have_text("Jarvis is answering.")
    await page.is_connected()
    return page


@pytest.mark.parametrize("why", UNAVAILABLE)
async def test_an_answer_of_a_chat_that_is_not_there_any_more_does_not_go_on(
    fake: FakeServer, chat: ChatPage, why: str
) -> None:
    [session] = fake.chats.values()
    if why == "deleted":
        await session.append("chat.session", title=session.title, deleted=True)
    else:
        fake.refuse("GET events", 404 if why == "gone" else 401, why, "No.")
        fake.cut_viewers()
    await expect(chat.page.get_by_role("heading", name=UNAVAILABLE[why])).to_be_visible()
    await expect(chat.spoken).to_have_text("")
    await expect(chat.stop_button).to_have_count(0)
    await chat.page.clock.run_for(21_000)
    assert await chat.spoken.text_content() == ""


async def test_an_answer_is_not_said_to_go_on_while_nothing_is_heard_of_it(fake: FakeServer, chat: ChatPage) -> None:
    fake.refuse("GET events", 503, "shutting_down", "Back soon.", {"Retry-After": "600"})
    fake.cut_viewers()
    await expect(chat.connection).to_have_attribute("data-connection", "reconnecting")
    await chat.page.clock.run_for(21_000)
    assert await chat.spoken.text_content() == "Jarvis is answering."
    await chat.page.get_by_role("button", name="Try now").click()
    await chat.is_connected()
    await chat.page.clock.run_for(21_000)
    await expect(chat.spoken).to_have_text("Still answering.")
