"""Prompts that have it hard on their way, on the fake server; and the composer."""

import asyncio

import pytest
from aiohttp import web
from playwright.async_api import expect

from tests.browser.chat_page import ChatPage
from tests.browser.conftest import OpenPage
from tests.browser.fake_server import FakeServer

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]


async def lost(request: web.Request) -> None:
    """Neither taken nor answered."""


async def test_a_refused_prompt_is_back_in_the_composer(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url, expect_failures=True))
    fake.refuse("POST streams", 413, "too_large", "The prompt is too long.")
    await chat.composer.fill("My long text")
    await chat.composer.press("Enter")
    await expect(chat.page.get_by_role("alert")).to_contain_text("The prompt is too long.")
    await expect(chat.composer).to_have_value("My long text")
    await expect(chat.prompts).to_have_count(0)
    await chat.composer.press("Enter")
    await expect(chat.texts).to_have_text("You said: My long text")
    await expect(chat.page.get_by_role("alert")).to_have_count(0)


async def test_what_was_typed_meanwhile_is_kept_with_it(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url, expect_failures=True))
    await chat.ask("Hello")
    await chat.last_answer_is("completed")
    for _ in range(4):
        fake.fail("POST streams", lost)
    await chat.composer.fill("First")
    await chat.composer.press("Enter")
    await chat.composer.fill("Second")
    await expect(chat.composer).to_have_value("First\n\nSecond")
    await expect(chat.prompts).to_have_text(["Hello"])


async def test_a_prompt_whose_answer_was_lost_is_not_asked_twice(fake: FakeServer, open_page: OpenPage) -> None:
    """The server takes the prompt, but neither its 202 nor an event arrives: the page sends it again, same key."""
    chat = ChatPage(await open_page(fake.url, expect_failures=True))
    await chat.ask("Hello")
    await chat.last_answer_is("completed")
    session = next(iter(fake.chats.values()))
    sent_again = asyncio.Event()

    async def taken_and_lost(request: web.Request) -> None:
        fake.delay("GET events", sent_again)
        fake.cut_viewers()
        fake.keys[request.headers["Idempotency-Key"]] = await session.ask("Once", fake.model)

    fake.fail("POST streams", taken_and_lost)
    again = chat.page.expect_event("requestfinished", lambda request: request.url.endswith("/streams/"))
    async with again:
        await chat.ask("Once")
    sent_again.set()
    await expect(chat.texts).to_have_text(["You said: Hello", "You said: Once"])
    await chat.last_answer_is("completed")
    await expect(chat.prompts).to_have_text(["Hello", "Once"])
    assert fake.model.prompts == ["Hello", "Once"]


async def test_a_double_click_asks_once(fake: FakeServer, open_page: OpenPage) -> None:
    """Both clicks come before the server has taken the prompt."""
    chat = ChatPage(await open_page(fake.url))
    fake.hold = asyncio.Event()
    await chat.composer.fill("Once")
    await chat.page.get_by_role("button", name="Send").dblclick()
    await expect(chat.prompts).to_have_text(["Once"])
    fake.hold.set()
    await expect(chat.texts).to_have_text("You said: Once")
    await chat.ask("Something else")
    await expect(chat.texts).to_have_text(["You said: Once", "You said: Something else"])
    assert fake.model.prompts == ["Once", "Something else"]


async def test_a_busy_server_is_asked_again(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url, expect_failures=True))
    for _ in range(2):
        fake.refuse("POST streams", 503, "overloaded", "Too much to do.", {"Retry-After": "0.1"})
    await chat.ask("Hello")
    await expect(chat.texts).to_have_text("You said: Hello")


async def test_prompts_arrive_in_the_order_in_which_they_were_sent(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url))
    may_pass = asyncio.Event()
    fake.delay("POST streams", may_pass)
    await chat.ask("First")
    await fake.until(lambda: not fake.faults["POST streams"])
    await chat.ask("Second")
    await expect(chat.prompts).to_have_text(["First", "Second"])
    may_pass.set()
    await expect(chat.texts.last).to_have_text("You said: Second")
    await expect(chat.prompts).to_have_text(["First", "Second"])
    assert fake.model.prompts == ["First", "Second"]
    assert len(fake.chats) == 1


async def test_a_new_chat_is_begun_while_the_one_before_is_being_made(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url))
    may_pass = asyncio.Event()
    fake.delay("POST sessions", may_pass)
    await chat.ask("About zebras")
    await chat.chats.get_by_role("link", name="New chat").click()
    await expect(chat.prompts).to_have_count(0)
    await chat.composer.fill("About otters")
    may_pass.set()
    await expect(chat.row("About zebras")).to_be_visible()
    await expect(chat.composer).to_have_value("About otters")
    await chat.composer.press("Enter")
    await expect(chat.texts).to_have_text("You said: About otters")
    await chat.chats.get_by_role("link", name="About zebras").click()
    await expect(chat.texts).to_have_text("You said: About zebras")
    assert len(fake.chats) == 2


async def test_a_prompt_that_could_not_be_sent_is_back_where_a_new_chat_was_begun(
    fake: FakeServer, open_page: OpenPage
) -> None:
    chat = ChatPage(await open_page(fake.url, expect_failures=True))
    fake.new_chat("Another")
    may_pass = asyncio.Event()
    fake.refuse("POST sessions", 403, "forbidden", "No more chats.", after=may_pass)
    await chat.ask("About zebras")
    await chat.chats.get_by_role("link", name="New chat").click()
    await chat.composer.fill("About otters")
    may_pass.set()
    await expect(chat.page.get_by_role("alert")).to_contain_text("Not sent. No more chats.")
    await expect(chat.composer).to_have_value("About zebras\n\nAbout otters")


async def test_a_prompt_that_could_not_be_sent_waits_in_the_chat_that_was_left(
    fake: FakeServer, open_page: OpenPage
) -> None:
    first, second = fake.new_chat("First"), fake.new_chat("Second")
    chat = ChatPage(await open_page(f"{fake.url}/s/{first.id}/", expect_failures=True))
    may_pass = asyncio.Event()
    fake.refuse("POST streams", 413, "too_large", "The prompt is too long.", after=may_pass)
    await chat.ask("A very long text")
    await chat.chats.get_by_role("link", name="Second").click()
    await expect(chat.page).to_have_url(f"{fake.url}/s/{second.id}/")
    async with chat.page.expect_event("requestfinished", lambda request: request.url.endswith("/streams/")):
        may_pass.set()
    await chat.chats.get_by_role("link", name="First").click()
    await expect(chat.composer).to_have_value("A very long text")


async def test_stop_while_the_prompt_is_still_on_its_way(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url))
    speech = fake.model.will_speak()
    fake.hold = asyncio.Event()
    await chat.ask("Wait")
    await chat.stop()
    fake.hold.set()
    await chat.last_answer_is("stopped")
    await speech.left.wait()


async def test_a_stop_that_fails_can_be_asked_again(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url, expect_failures=True))
    fake.model.will_speak().say("On and on")
    await chat.ask("Talk")
    await expect(chat.texts).to_have_text("On and on")
    fake.refuse("POST stop", 503, "overloaded", "Too much to do.")
    await chat.stop()
    await expect(chat.page.get_by_role("alert")).to_contain_text("Not stopped.")
    await chat.stop()
    await chat.last_answer_is("stopped")
    assert len(fake.stops) == 1


async def test_enter_sends_and_shift_enter_breaks_the_line(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url))
    await expect(chat.composer).to_be_focused()
    await chat.page.keyboard.type("one")
    await chat.page.keyboard.press("Shift+Enter")
    await chat.page.keyboard.type("two")
    await expect(chat.composer).to_have_value("one\ntwo")
    await chat.page.keyboard.press("Enter")
    await expect(chat.prompts).to_have_text("one\ntwo")
    await expect(chat.composer).to_have_value("")


async def test_enter_that_ends_a_composition_does_not_send(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url))
    await chat.composer.fill("にほん")
    for init in ("{ isComposing: true }", "{ keyCode: 229 }"):
        await chat.composer.evaluate(
            f"(area) => area.dispatchEvent(new KeyboardEvent('keydown', {{ key: 'Enter', bubbles: true, ...{init} }}))"
        )
    await expect(chat.composer).to_have_value("にほん")
    assert fake.model.prompts == []


async def test_nothing_but_space_is_not_sent(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url))
    await chat.composer.fill("  \n ")
    await chat.composer.press("Enter")
    await expect(chat.page.get_by_role("button", name="Send")).to_be_disabled()
    await expect(chat.prompts).to_have_count(0)


async def test_each_chat_keeps_its_own_draft(fake: FakeServer, open_page: OpenPage) -> None:
    first, second = fake.new_chat("First"), fake.new_chat("Second")
    chat = ChatPage(await open_page(f"{fake.url}/s/{first.id}/"))
    await chat.composer.fill("for the first")
    await chat.chats.get_by_role("link", name="Second").click()
    await expect(chat.composer).to_have_value("")
    await chat.composer.fill("for the second")
    await chat.page.reload()
    await expect(chat.composer).to_have_value("for the second")
    await chat.chats.get_by_role("link", name="First").click()
    await expect(chat.composer).to_have_value("for the first")
    assert chat.page.url.endswith(f"/s/{first.id}/")
    assert second.id in fake.chats


async def test_the_composer_grows_with_its_text(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url))
    low = await chat.composer.bounding_box()
    await chat.composer.fill("line\n" * 6)
    await chat.page.wait_for_function(
        "(low) => document.querySelector('textarea').clientHeight > low * 2", arg=low["height"] if low else 0
    )
    await chat.composer.fill("line\n" * 200)
    high = await chat.composer.bounding_box()
    assert high is not None
    assert high["height"] < 0.5 * (chat.page.viewport_size or {"height": 0})["height"]


async def test_a_list_that_cannot_be_read_says_so_and_keeps_what_it_has(fake: FakeServer, open_page: OpenPage) -> None:
    fake.new_chat("Kept")
    chat = ChatPage(await open_page(fake.url, expect_failures=True))
    await expect(chat.row("Kept")).to_be_visible()
    fake.refuse("PATCH session", 503, "overloaded", "Too much to do.")
    await chat.row("Kept").hover()
    await chat.page.get_by_role("button", name="Rename Kept").click()
    await chat.page.get_by_role("textbox", name="New title").fill("Lost")
    await chat.composer.focus()
    await expect(chat.page.get_by_role("alert")).to_have_text("Too much to do.")
    await expect(chat.row("Kept")).to_be_visible()


async def test_more_chats_are_read_on_demand(fake: FakeServer, open_page: OpenPage) -> None:
    for number in range(25):
        fake.new_chat(f"Chat number {number}.")
    chat = ChatPage(await open_page(fake.url))
    await expect(chat.chats.get_by_role("listitem")).to_have_count(20)
    await chat.page.get_by_role("button", name="Show more").click()
    await expect(chat.chats.get_by_role("listitem")).to_have_count(25)
    await chat.ask("A new one")
    await expect(chat.chats.get_by_role("listitem")).to_have_count(26)
