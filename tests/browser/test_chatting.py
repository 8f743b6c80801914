"""Asking and answering, on a real server with a scripted model."""

import pytest
from playwright.async_api import expect

from tests.browser.chat_page import ChatPage
from tests.browser.conftest import OpenPage
from tests.browser.markdown_texts import HOSTILE
from tests.browser.model import Model, in_pieces

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]


async def test_a_first_prompt_makes_a_chat_and_is_answered(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    model.will_say(*in_pieces("Hello, **you**."))
    await chat.ask("Good morning")
    await expect(chat.texts).to_have_text("Hello, you.")
    await expect(chat.texts.locator("strong")).to_have_text("you")
    await chat.last_answer_is("completed")
    assert "/s/" in chat.page.url
    await expect(chat.page).to_have_title("Good morning · Jarvis")
    await expect(chat.row("Good morning")).to_be_visible()


async def test_a_long_first_prompt_names_the_chat_as_the_server_does(
    served: str, model: Model, open_page: OpenPage
) -> None:
    chat = ChatPage(await open_page(served))
    model.will_say("Gladly.")
    await chat.ask("A question of many words, " * 10)
    named = "A question of many words, A question of many words, A question of many words, A…"
    await expect(chat.page).to_have_title(f"{named} · Jarvis")
    await expect(chat.row(named)).to_be_visible()


async def test_a_new_chat_has_its_name_though_another_is_searched_for(
    served: str, model: Model, open_page: OpenPage
) -> None:
    chat = ChatPage(await open_page(served))
    await chat.page.get_by_role("searchbox", name="Search chats").fill("nothing like it")
    model.will_say("Gladly.")
    await chat.ask("Good evening")
    await expect(chat.page).to_have_title("Good evening · Jarvis")


async def test_the_prompt_stands_above_an_answer_that_only_thinks(
    served: str, model: Model, open_page: OpenPage
) -> None:
    chat = ChatPage(await open_page(served))
    speech = model.will_speak()
    await chat.ask("Are you there?")
    await chat.last_answer_is("thinking")
    roles = await chat.page.locator(".message h2").all_text_contents()
    assert roles == ["You", "Jarvis"]
    speech.say("Yes.").end()
    await chat.last_answer_is("completed")
    speech = model.will_speak()
    await chat.ask("And now?")
    await chat.last_answer_is("thinking")
    assert await chat.page.locator(".message h2").all_text_contents() == ["You", "Jarvis"] * 2
    speech.end()


async def test_two_tabs_show_the_same(served: str, model: Model, open_page: OpenPage) -> None:
    first = ChatPage(await open_page(served))
    speech = model.will_speak().say("One ")
    await first.ask("Count")
    await expect(first.texts).to_have_text("One")
    second = ChatPage(await open_page(first.page.url))
    await expect(second.texts).to_have_text("One")
    speech.say("two ")
    for tab in (first, second):
        await expect(tab.texts).to_have_text("One two")
    await second.stop()
    for tab in (first, second):
        await tab.last_answer_is("stopped")
    model.will_say("Gladly.")
    await second.ask("Once more")
    await expect(first.prompts).to_have_text(["Count", "Once more"])
    await expect(first.texts).to_have_text(["One two", "Gladly."])


async def test_a_reload_in_mid_stream_loses_nothing(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    speech = model.will_speak().say("Before ")
    await chat.ask("Tell me")
    await expect(chat.texts).to_have_text("Before")
    await chat.page.reload()
    speech.say("and after.").end()
    await expect(chat.texts).to_have_text("Before and after.")
    await expect(chat.prompts).to_have_text(["Tell me"])
    await chat.last_answer_is("completed")


async def test_stop_before_the_first_token_stops_the_model(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    speech = model.will_speak()
    await chat.ask("Never mind")
    await speech.asked.wait()
    await chat.stop()
    await chat.last_answer_is("stopped")
    await speech.left.wait()
    await expect(chat.stop_button).to_be_hidden()


async def test_stop_keeps_what_was_said(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    speech = model.will_speak().say("As far as here")
    await chat.ask("Talk")
    await expect(chat.texts).to_have_text("As far as here")
    await chat.stop()
    await chat.last_answer_is("stopped")
    await speech.left.wait()
    await expect(chat.texts).to_have_text("As far as here")
    await expect(chat.answers.last).to_contain_text("Stopped.")


async def test_a_prompt_in_mid_answer_interrupts_it(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    first = model.will_speak().say("A long story")
    await chat.ask("Tell a story")
    await expect(chat.texts).to_have_text("A long story")
    model.will_say("Four.")
    await chat.ask("What is two and two?")
    await expect(chat.answers.first).to_have_attribute("data-state", "interrupted")
    await expect(chat.texts).to_have_text(["A long story", "Four."])
    await chat.last_answer_is("completed")
    await first.left.wait()


async def test_an_error_stands_on_the_message_and_retry_asks_again(
    served: str, model: Model, open_page: OpenPage
) -> None:
    chat = ChatPage(await open_page(served))
    model.will_speak().say("Half an ans").fail()
    await chat.ask("Try this")
    await chat.last_answer_is("failed")
    await expect(chat.texts).to_have_text("Half an ans")
    await expect(chat.answers.last.locator(".note.error")).to_be_visible()
    model.will_say("A whole answer.")
    await chat.page.get_by_role("button", name="Retry").click()
    await expect(chat.texts.last).to_have_text("A whole answer.")
    assert model.prompts == ["Try this", "Try this"]
    await expect(chat.page.get_by_role("button", name="Retry")).to_have_count(0)


async def test_a_suggestion_is_asked(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    model.will_say("Waves.")
    await chat.page.get_by_role("button", name="poem").click()
    await expect(chat.texts).to_have_text("Waves.")
    assert "poem" in model.prompts[0]


async def test_a_suggestion_clicked_twice_is_asked_once(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    await chat.page.get_by_role("button", name="poem").dblclick()
    await chat.last_answer_is("completed")
    await expect(chat.prompts).to_have_count(1)
    assert len(model.prompts) == 1


async def test_hostile_text_is_harmless_in_every_part_of_the_page(
    served: str, model: Model, open_page: OpenPage
) -> None:
    """As a prompt, a title and an answer; what it must not do, the page's watch would see."""
    chat = ChatPage(await open_page(served))
    attack = "<img src=x onerror=alert(1)>"
    model.will_say(*in_pieces("\n\n".join(HOSTILE), 3))
    await chat.ask(attack)
    await chat.last_answer_is("completed")
    await expect(chat.row(attack)).to_be_visible()
    await expect(chat.page.locator("main img, main script, main form, main iframe, nav img")).to_have_count(0)
    await chat.page.reload()
    await expect(chat.texts).to_contain_text("<script>alert(1)</script>")
