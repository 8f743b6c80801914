"""What a page does when its connection does not do its part, on the fake server."""

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.chat_page import ChatPage
from tests.browser.conftest import OpenPage
from tests.browser.fake_server import FakeServer
from tests.browser.model import Speech

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]

SHOW = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def chat(fake: FakeServer, open_page: OpenPage) -> ChatPage:
    """A page in the middle of an answer: `One `."""
    page = ChatPage(await open_page(fake.url, expect_failures=True))
    fake.model.will_speak().say("One ")
    await page.ask("Count")
    await expect(page.texts).to_have_text("One")
    return page


@pytest.fixture
def speech(fake: FakeServer, chat: ChatPage) -> Speech:
    return fake.model.last


async def test_a_cut_connection_is_resumed_without_loss_or_repetition(
    fake: FakeServer, chat: ChatPage, speech: Speech
) -> None:
    for word in ("two ", "three ", "four "):
        fake.cut_viewers()
        speech.say(word)
        await expect(chat.texts).to_contain_text(word.strip())
    speech.end()
    await chat.last_answer_is("completed")
    await expect(chat.texts).to_have_text("One two three four")
    assert None not in fake.cursors[1:]


async def test_trouble_is_shown_and_ends_by_itself(fake: FakeServer, chat: ChatPage, speech: Speech) -> None:
    for _ in range(3):
        fake.refuse("GET events", 503, "overloaded", "Too much to do.")
    fake.cut_viewers()
    await expect(chat.connection).to_have_text("Reconnecting…Try now")
    speech.say("two").end()
    await expect(chat.texts).to_have_text("One two")
    await chat.is_connected()


async def test_the_wait_is_as_long_as_the_server_says(fake: FakeServer, chat: ChatPage) -> None:
    fake.refuse("GET events", 503, "shutting_down", "Back soon.", {"Retry-After": "600"})
    fake.cut_viewers()
    await fake.until(lambda: not fake.faults["GET events"])
    asked = len(fake.cursors)
    await chat.page.get_by_role("button", name="Try now").click()
    await chat.is_connected()
    assert len(fake.cursors) == asked + 1


async def test_offline_is_shown_and_ends_by_itself(fake: FakeServer, chat: ChatPage, speech: Speech) -> None:
    await chat.page.context.set_offline(True)
    await expect(chat.connection).to_have_attribute("data-connection", "offline")
    speech.say("two").end()
    await chat.page.context.set_offline(False)
    await expect(chat.texts).to_have_text("One two")
    await chat.is_connected()


async def test_missing_events_are_asked_for(fake: FakeServer, chat: ChatPage, speech: Speech) -> None:
    [session] = fake.chats.values()
    fake.losing.add(session.head + 1)
    speech.say("two ", "three").end()
    await expect(chat.texts).to_have_text("One two three")
    await chat.last_answer_is("completed")


async def test_a_silent_connection_is_replaced(fake: FakeServer, open_page: OpenPage) -> None:
    page = await open_page(f"{fake.url}/s/{fake.new_chat().id}/", clock=True)
    await ChatPage(page).is_connected()
    await fake.until(lambda: len(fake.cursors) == 1)
    await page.clock.run_for(39_000)
    assert len(fake.cursors) == 1
    await page.clock.run_for(3_000)
    await fake.until(lambda: len(fake.cursors) == 2)


async def test_pings_keep_a_quiet_connection(fake: FakeServer, open_page: OpenPage) -> None:
    fake.ping_seconds = 0.05
    page = await open_page(f"{fake.url}/s/{fake.new_chat().id}/", clock=True)
    await ChatPage(page).is_connected()
    for _ in range(6):
        fake.pings = 0
        await fake.until(lambda: fake.pings >= 2)
        async with page.expect_response("**/api/sessions/", timeout=5_000) as listed:  # a round trip: the page has read
            await page.evaluate("() => dispatchEvent(new Event('focus'))")
        await listed.value
        await page.clock.run_for(10_000)
    assert len(fake.cursors) == 1


async def test_a_hidden_tab_gives_its_connection_back_and_resumes(
    fake: FakeServer, chat: ChatPage, speech: Speech
) -> None:
    await chat.page.evaluate(SHOW, True)
    await fake.until(lambda: not fake.viewers)
    speech.say("two ")
    await chat.page.evaluate(SHOW, False)
    await expect(chat.texts).to_have_text("One two")
    assert fake.cursors[-1] is not None
    speech.say("three").end()
    await expect(chat.texts).to_have_text("One two three")


async def test_a_cursor_that_is_too_old_gets_the_session_anew(fake: FakeServer, chat: ChatPage, speech: Speech) -> None:
    [session] = fake.chats.values()
    await chat.page.evaluate(SHOW, True)
    await fake.until(lambda: not fake.viewers)
    speech.say("two").end()
    await fake.until(lambda: session.active is None)
    session.first_stored = session.head + 1
    await chat.page.evaluate(SHOW, False)
    await expect(chat.texts).to_have_text("One two")
    await chat.last_answer_is("completed")
    await expect(chat.prompts).to_have_text(["Count"])


async def test_a_chat_that_does_not_exist_says_so(fake: FakeServer, open_page: OpenPage) -> None:
    url = f"{fake.url}/s/00000000-0000-4000-8000-000000000000/"
    chat = ChatPage(await open_page(url, expect_failures=True))
    await expect(chat.page.get_by_role("heading", name="There is no such chat.")).to_be_visible()
    await expect(chat.composer).to_be_disabled()
    asked = len(fake.cursors)
    await chat.chats.get_by_role("link", name="New chat").click()
    await expect(chat.composer).to_be_enabled()
    assert len(fake.cursors) == asked


async def test_who_is_logged_out_is_told(fake: FakeServer, chat: ChatPage) -> None:
    fake.refuse("GET events", 401, "unauthenticated", "Who are you?")
    fake.cut_viewers()
    await expect(chat.page.get_by_role("link", name="Log in")).to_be_visible()
