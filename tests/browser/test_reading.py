"""Reading while text arrives: the scroll position is the reader's, and so is what is selected; on a real server."""

import pytest
from playwright.async_api import Page, expect

from tests.browser.chat_page import ChatPage
from tests.browser.conftest import OpenPage
from tests.browser.model import Model, Speech, in_pieces

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]

PARAGRAPHS = "".join(f"Paragraph {number} of a long answer.\n\n" for number in range(40))


async def put_finger(page: Page, y: float, *then: float) -> None:
    """On the transcript, moved from one height to the next. It stays there."""
    touch = await page.context.new_cdp_session(page)
    for number, height in enumerate([y, *then]):
        event = "touchMove" if number else "touchStart"
        await touch.send("Input.dispatchTouchEvent", {"type": event, "touchPoints": [{"x": 700, "y": height}]})


async def long_answer(chat: ChatPage, model: Model) -> Speech:
    """Longer than the page, all of it shown, and going on."""
    speech = model.will_speak().say(PARAGRAPHS)
    await chat.ask("Go on and on")
    await expect(chat.texts).to_contain_text("Paragraph 39")
    return speech


async def test_the_page_follows_the_text_until_the_reader_scrolls_up(
    served: str, model: Model, open_page: OpenPage
) -> None:
    chat = ChatPage(await open_page(served))
    speech = await long_answer(chat, model)
    assert await chat.at_the_end()
    await chat.scroll_up()
    before = await chat.transcript.evaluate("(box) => box.scrollTop")
    speech.say(PARAGRAPHS, "The end.")
    await expect(chat.texts).to_contain_text("The end.")
    assert await chat.transcript.evaluate("(box) => box.scrollTop") == before
    await chat.jump.click()
    await expect(chat.jump).to_be_hidden()
    assert await chat.at_the_end()
    speech.say("\n\nAnd more.", PARAGRAPHS).end()
    await chat.last_answer_is("completed")
    assert await chat.at_the_end()


async def test_scrolling_down_to_the_end_follows_again(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    speech = await long_answer(chat, model)
    await chat.transcript.press("PageUp")
    await expect(chat.jump).to_be_visible()
    await chat.has_come_to_rest()  # who presses End before anything has moved has nothing to arrive at
    await chat.transcript.press("End")
    await expect(chat.jump).to_be_hidden()
    speech.say("The end.", PARAGRAPHS).end()
    await chat.last_answer_is("completed")
    assert await chat.at_the_end()


async def test_a_finger_that_moves_up_at_the_end_does_not_stop_the_following(
    served: str, model: Model, open_page: OpenPage
) -> None:
    chat = ChatPage(await open_page(served, has_touch=True))
    speech = await long_answer(chat, model)
    await put_finger(chat.page, 500, *range(480, 300, -20))
    speech.say(PARAGRAPHS, "The end.")
    await expect(chat.texts).to_contain_text("The end.")
    await expect(chat.jump).to_be_hidden()
    assert await chat.at_the_end()
    speech.end()


async def test_a_finger_that_moves_down_stops_the_following(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served, has_touch=True))
    speech = await long_answer(chat, model)
    await put_finger(chat.page, 300, *range(320, 500, 20))
    await expect(chat.jump).to_be_visible()
    speech.end()


async def test_a_finger_that_only_trembles_does_not_stop_the_following(
    served: str, model: Model, open_page: OpenPage
) -> None:
    chat = ChatPage(await open_page(served, has_touch=True))
    speech = await long_answer(chat, model)
    for event, y in (("touchstart", 300), ("touchmove", 301)):
        await chat.transcript.dispatch_event(event, {"touches": [{"identifier": 0, "clientX": 700, "clientY": y}]})
    await expect(chat.jump).to_be_visible()
    await chat.transcript.dispatch_event("touchend")
    await expect(chat.jump).to_be_hidden()
    speech.say(PARAGRAPHS, "The end.")
    await expect(chat.texts).to_contain_text("The end.")
    assert await chat.at_the_end()
    speech.end()


async def test_a_right_click_does_not_stop_the_following(served: str, model: Model, open_page: OpenPage) -> None:
    """Its pointerup never comes: the context menu takes it."""
    chat = ChatPage(await open_page(served))
    speech = model.will_speak().say("Short.\n\n")
    await chat.ask("Go on and on")
    await expect(chat.texts).to_have_text("Short.")
    await chat.transcript.hover()
    await chat.page.mouse.down(button="right")
    speech.say(PARAGRAPHS, "The end.").end()
    await chat.last_answer_is("completed")
    assert await chat.at_the_end()


async def test_nothing_moves_while_text_is_being_selected(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    speech = model.will_speak().say("Short.\n\n")
    await chat.ask("Go on and on")
    await expect(chat.texts).to_have_text("Short.")
    await chat.transcript.hover()
    await chat.page.mouse.down()
    speech.say(PARAGRAPHS, "The end.").end()
    await chat.last_answer_is("completed")
    assert await chat.transcript.evaluate("(box) => box.scrollTop") == 0


async def test_a_new_prompt_goes_to_the_end(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    model.will_say(PARAGRAPHS)
    await chat.ask("Go on and on")
    await chat.last_answer_is("completed")
    await chat.scroll_up()
    await chat.ask("Next")
    await expect(chat.jump).to_be_hidden()
    await expect(chat.texts.last).to_be_in_viewport()


async def test_a_selection_survives_the_text_that_follows(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    speech = model.will_speak().say("Select these words")
    await chat.ask("Say something")
    await expect(chat.texts).to_have_text("Select these words")
    await chat.page.evaluate(
        """() => {
          const text = document.querySelector(".prose p").firstChild;
          getSelection().setBaseAndExtent(text, 7, text, 12);
        }"""
    )
    speech.say(*in_pieces(", and *many* more.\n\nAnd another paragraph, with a list:\n\n- one\n- two\n")).end()
    await chat.last_answer_is("completed")
    assert await chat.page.evaluate("() => getSelection().toString()") == "these"


async def test_code_is_copied_as_it_was_written(served: str, model: Model, open_page: OpenPage) -> None:
    page = await open_page(served, permissions=["clipboard-read", "clipboard-write"])
    chat = ChatPage(page)
    model.will_say(*in_pieces('```python\nprint("<b>&amp;</b>")\n\tx\n```\n\nDone.'))
    await chat.ask("Show code")
    await expect(page.locator(".code .hljs-string")).to_be_visible()
    await page.get_by_role("button", name="Copy code").click()
    await expect(page.locator(".code .when-copied")).to_be_visible()
    assert await page.evaluate("() => navigator.clipboard.readText()") == 'print("<b>&amp;</b>")\n\tx'
    await page.get_by_role("button", name="Copy answer").click()
    await page.wait_for_function("async () => (await navigator.clipboard.readText()).endsWith('Done.')")


async def test_a_theme_that_was_chosen_is_kept(served: str, open_page: OpenPage) -> None:
    page = await open_page(served, color_scheme="light")
    background = "() => getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(background)
    await page.get_by_role("button", name="Theme: system").click()
    await page.get_by_role("button", name="Theme: light").click()
    await expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    dark = await page.evaluate(background)
    assert dark != light
    await page.reload()
    assert await page.evaluate(background) == dark


async def test_without_motion_nothing_moves(served: str, model: Model, open_page: OpenPage) -> None:
    page = await open_page(served, reduced_motion="reduce")
    chat = ChatPage(page)
    speech = model.will_speak()
    await chat.ask("Think")
    await chat.last_answer_is("thinking")
    assert await page.evaluate("() => document.getAnimations().length") == 0
    speech.end()


async def test_all_modules_are_asked_for_at_once(served: str, open_page: OpenPage) -> None:
    page = await open_page(served)
    await expect(ChatPage(page).composer).to_be_visible()
    loaded, preloaded = await page.evaluate(
        """() => [
          performance.getEntriesByType("resource").map(({ name }) => name).filter((name) => /\\.js$/.test(name)),
          [...document.querySelectorAll("link[rel=modulepreload]")].map(({ href }) => href),
        ]"""
    )
    others = [f"{served}/static/chat/js/{name}.js" for name in ("main", "theme")]
    assert sorted(loaded) == sorted([*preloaded, *others])
