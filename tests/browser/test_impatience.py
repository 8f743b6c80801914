"""What is done before the server has answered, on the fake server: stop, reload, leave, come back, ask again."""

import asyncio

import pytest
from aiohttp import web
from playwright.async_api import Route, expect

from tests.browser.chat_page import ChatPage
from tests.browser.conftest import OpenPage
from tests.browser.fake_server import FakeServer

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]


TOO_LONG = (413, "too_large", "The prompt is too long.")


# --- stop ---


async def test_stop_stops_what_was_asked_before_it_and_not_what_is_asked_then(
    fake: FakeServer, open_page: OpenPage
) -> None:
    chat = ChatPage(await open_page(fake.url))
    fake.hold = asyncio.Event()
    fake.model.will_speak()
    second = fake.model.will_speak().say("Good ")
    await chat.ask("First")
    await chat.stop()
    await chat.ask("Second")
    fake.hold.set()
    await expect(chat.texts.last).to_have_text("Good")
    await fake.until(lambda: fake.stops)
    second.say("answer").end()
    await expect(chat.texts.last).to_have_text("Good answer")
    await chat.last_answer_is("completed")
    assert len(fake.stops) == 1


async def test_stop_stops_the_answer_and_the_prompt_that_is_on_its_way(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url))
    fake.model.will_speak().say("On and on")
    await chat.ask("First")
    await expect(chat.texts).to_have_text("On and on")
    may_pass = asyncio.Event()

    async def hold(route: Route) -> None:
        await may_pass.wait()
        await route.continue_()

    await chat.page.route("**/streams/", hold)
    fake.model.will_speak()
    await chat.ask("Second")
    await chat.stop()
    await chat.last_answer_is("stopped")
    may_pass.set()
    await expect(chat.answers).to_have_count(2)
    await chat.last_answer_is("stopped")


async def test_stop_stops_the_answer_though_the_prompt_on_its_way_is_refused(
    fake: FakeServer, open_page: OpenPage
) -> None:
    chat = ChatPage(await open_page(fake.url, expect_failures=True))
    fake.model.will_speak().say("On and on")
    await chat.ask("First")
    await expect(chat.texts).to_have_text("On and on")
    may_pass = asyncio.Event()
    fake.refuse("POST streams", *TOO_LONG, after=may_pass)
    await chat.ask("Second")
    await chat.stop()
    may_pass.set()
    await expect(chat.page.get_by_role("alert")).to_contain_text("The prompt is too long.")
    await chat.last_answer_is("stopped")


# --- reload, leave, come back ---


async def test_a_reload_sends_a_prompt_again_that_was_on_its_way(fake: FakeServer, open_page: OpenPage) -> None:
    session = fake.new_chat("A chat")
    chat = ChatPage(await open_page(f"{fake.url}/s/{session.id}/", expect_failures=True))
    fake.delay("POST streams", asyncio.Event())
    await chat.ask("A long text")
    await fake.until(lambda: not fake.faults["POST streams"])
    await chat.page.reload()
    await expect(chat.texts).to_have_text("You said: A long text")
    await chat.last_answer_is("completed")
    await chat.page.reload()
    await expect(chat.prompts).to_have_text(["A long text"])
    assert fake.model.prompts == ["A long text"]


async def test_a_prompt_that_was_taken_is_asked_once_whatever_is_reloaded(
    fake: FakeServer, open_page: OpenPage
) -> None:
    session = fake.new_chat("A chat")
    chat = ChatPage(await open_page(f"{fake.url}/s/{session.id}/", expect_failures=True))

    async def taken_and_silent(request: web.Request) -> web.Response:
        fake.keys[request.headers["Idempotency-Key"]] = await session.ask("Once", fake.model)
        await asyncio.Event().wait()
        return web.Response()

    fake.fail("POST streams", taken_and_silent)
    await chat.ask("Once")
    await expect(chat.texts).to_have_text("You said: Once")
    await chat.page.reload()
    await expect(chat.prompts).to_have_text(["Once"])
    await chat.ask("Something else")
    await expect(chat.texts).to_have_text(["You said: Once", "You said: Something else"])
    assert fake.model.prompts == ["Once", "Something else"]


async def test_a_reload_while_the_chat_is_being_made_keeps_the_text(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url, expect_failures=True))
    fake.delay("POST sessions", asyncio.Event())
    await chat.ask("A long text")
    await chat.page.reload()
    await expect(chat.composer).to_have_value("A long text")


async def test_who_comes_back_finds_the_prompt_on_its_way_and_asks_behind_it(
    fake: FakeServer, open_page: OpenPage
) -> None:
    session = fake.new_chat("First")
    fake.new_chat("Second")
    chat = ChatPage(await open_page(f"{fake.url}/s/{session.id}/"))
    may_pass = asyncio.Event()
    fake.delay("POST streams", may_pass)
    await chat.ask("A")
    await chat.chats.get_by_role("link", name="Second").click()
    await expect(chat.prompts).to_have_count(0)
    await chat.chats.get_by_role("link", name="First").click()
    await chat.is_connected()
    await expect(chat.prompts).to_have_text(["A"])
    await chat.ask("B")
    may_pass.set()
    await expect(chat.texts).to_have_text(["You said: A", "You said: B"])
    assert fake.model.prompts == ["A", "B"]


async def test_a_refusal_is_told_of_where_one_is(fake: FakeServer, open_page: OpenPage) -> None:
    session = fake.new_chat("First")
    fake.new_chat("Second")
    chat = ChatPage(await open_page(f"{fake.url}/s/{session.id}/", expect_failures=True))
    may_pass = asyncio.Event()
    fake.refuse("POST streams", *TOO_LONG, after=may_pass)
    await chat.ask("A long text")
    await chat.chats.get_by_role("link", name="Second").click()
    await chat.composer.fill("Something else")
    may_pass.set()
    told = "In “First”: Not sent. The prompt is too long. What you wrote is there."
    await expect(chat.page.get_by_role("alert")).to_contain_text(told)
    await expect(chat.composer).to_have_value("Something else")
    await chat.chats.get_by_role("link", name="First").click()
    await expect(chat.composer).to_have_value("A long text")


async def test_a_chat_that_was_made_for_a_refused_prompt_can_be_found(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url, expect_failures=True))
    may_pass = asyncio.Event()
    fake.refuse("POST streams", *TOO_LONG, after=may_pass)
    await chat.ask("A long text")
    await fake.until(lambda: not fake.faults["POST streams"])
    await chat.chats.get_by_role("link", name="New chat").click()
    await expect(chat.prompts).to_have_count(0)
    may_pass.set()
    await expect(chat.page.get_by_role("alert")).to_contain_text("In “New chat”: Not sent.")
    await chat.chats.get_by_role("listitem").get_by_role("link").click()
    await expect(chat.composer).to_have_value("A long text")


# --- answers that are lost or late ---


async def test_what_the_log_has_was_sent_whatever_became_of_the_answer(fake: FakeServer, open_page: OpenPage) -> None:
    session = fake.new_chat("A chat")
    chat = ChatPage(await open_page(f"{fake.url}/s/{session.id}/", expect_failures=True))

    async def taken_and_lost(request: web.Request) -> None:
        fake.keys[request.headers["Idempotency-Key"]] = await session.ask("continue", fake.model)

    fake.fail("POST streams", taken_and_lost)
    await chat.ask("continue")
    await expect(chat.texts).to_have_text("You said: continue")
    await chat.ask("continue")
    await expect(chat.texts).to_have_text(["You said: continue", "You said: continue"])
    await expect(chat.page.get_by_role("alert")).to_have_count(0)
    assert fake.model.prompts == ["continue", "continue"]


async def test_the_next_prompt_does_not_wait_for_the_answer_to_one_that_the_log_has(
    fake: FakeServer, open_page: OpenPage
) -> None:
    session = fake.new_chat("A chat")
    chat = ChatPage(await open_page(f"{fake.url}/s/{session.id}/"))

    async def taken_and_silent(request: web.Request) -> web.Response:
        await session.ask("First", fake.model)
        await asyncio.Event().wait()
        return web.Response()

    fake.fail("POST streams", taken_and_silent)
    await chat.ask("First")
    await expect(chat.texts).to_have_text("You said: First")
    await chat.ask("Second")
    await expect(chat.texts).to_have_text(["You said: First", "You said: Second"])


async def test_a_busy_server_is_asked_again_to_make_a_chat(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url, expect_failures=True))
    fake.refuse("POST sessions", 503, "overloaded", "Too much to do.", {"Retry-After": "0.1"})
    await chat.ask("Hello")
    await expect(chat.texts).to_have_text("You said: Hello")
    assert len(fake.chats) == 1


async def test_a_prompt_is_shown_while_the_chat_still_loads(fake: FakeServer, open_page: OpenPage) -> None:
    session = fake.new_chat("A chat")
    await session.ask("yes", fake.model)
    may_pass = asyncio.Event()
    fake.delay("GET events", may_pass)
    fake.delay("POST streams", asyncio.Event())
    chat = ChatPage(await open_page(f"{fake.url}/s/{session.id}/"))
    await chat.ask("yes")
    await expect(chat.transcript.get_by_text("Loading…")).to_be_visible()
    may_pass.set()
    await chat.is_connected()
    await expect(chat.prompts).to_have_text(["yes", "yes"])


async def test_a_double_click_asks_again_once(fake: FakeServer, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(fake.url))
    fake.model.will_speak().say("x").fail()
    await chat.ask("Question")
    await chat.last_answer_is("failed")
    await chat.page.get_by_role("button", name="Retry").dblclick()
    await expect(chat.texts.last).to_have_text("You said: Question")
    await chat.ask("Another")
    await expect(chat.texts.last).to_have_text("You said: Another")
    assert fake.model.prompts == ["Question", "Question", "Another"]
