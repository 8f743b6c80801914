"""Every state of the page passes axe, works on a phone, and is said to who cannot see it; on a real server."""

from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Page, expect

from tests.browser.chat_page import ChatPage
from tests.browser.conftest import OpenPage
from tests.browser.markdown_texts import TEXTS
from tests.browser.model import Model, in_pieces

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]

INSIDE = """() => [...document.querySelectorAll(".bar, .messages, .composer")]
  .every((box) => box.getBoundingClientRect().right <= visualViewport.width)"""
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}


async def check(page: Page) -> None:
    """No violation of any rule of axe, best practices included, and nothing wider than the screen."""
    await page.evaluate(f"() => {{ {AXE_SCRIPT} }}")
    found = await page.evaluate("() => axe.run()")
    wrong = [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
    assert not wrong, "\n".join(wrong)
    assert await page.evaluate(INSIDE), "wider than the screen"


@pytest.mark.parametrize("look", LOOKS)
async def test_every_state_passes_axe(served: str, model: Model, open_page: OpenPage, look: str) -> None:
    page = await open_page(served, reduced_motion="reduce", **LOOKS[look])
    chat = ChatPage(page)
    await expect(chat.composer).to_be_visible()
    await check(page)

    speech = model.will_speak()
    await chat.ask("Show me everything")
    await chat.last_answer_is("thinking")
    await check(page)
    speech.say(*in_pieces(TEXTS["everything"], 40))
    await expect(chat.texts).to_contain_text("image end.")
    await check(page)
    speech.end()
    await chat.last_answer_is("completed")
    await check(page)

    model.will_speak().say("Half").fail()
    await chat.ask("And break")
    await chat.last_answer_is("failed")
    await check(page)

    if look == "phone":
        await page.get_by_role("button", name="Show chats").click()
        await expect(chat.row("Show me everything")).to_be_visible()
        await check(page)
    else:
        await chat.row("Show me everything").hover()
    await page.get_by_role("button", name="Delete Show me everything").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await check(page)


async def test_what_happens_is_said_but_not_every_token(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    speech = model.will_speak()
    await chat.ask("Speak")
    await expect(chat.spoken).to_have_text("Jarvis is answering.")
    speech.say("Some ", "words")
    await expect(chat.texts).to_have_text("Some words")
    await expect(chat.spoken).to_have_text("Jarvis is answering.")
    speech.end()
    await expect(chat.spoken).to_have_text("The answer is finished.")
    live = await chat.page.locator("[aria-live], [role=log], [role=alert], [role=status]").all()
    assert all([not await region.locator(".prose").count() for region in live])


async def test_a_long_answer_is_said_to_go_on(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served, clock=True))
    model.will_speak().say("Slowly")
    await chat.ask("Speak")
    await expect(chat.spoken).to_have_text("Jarvis is answering.")
    await chat.page.clock.run_for(21_000)
    await expect(chat.spoken).to_have_text("Still answering.")
    await chat.stop()
    await expect(chat.spoken).to_have_text("Stopped.")


async def test_everything_can_be_reached_with_the_keyboard(served: str, model: Model, open_page: OpenPage) -> None:
    chat = ChatPage(await open_page(served))
    await chat.ask("Keyboard only")
    await chat.last_answer_is("completed")
    await expect(chat.row("Keyboard only")).to_be_visible()
    row = {"Rename Keyboard only", "Delete Keyboard only"}
    wanted = {"Search chats", "Conversation", "Copy answer", "Message Jarvis", *row}
    seen: set[str] = set()
    for _ in range(25):
        await chat.page.keyboard.press("Tab")
        seen.add(
            await chat.page.evaluate(
                "() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()"
            )
        )
    assert wanted <= seen


async def test_the_drawer_of_a_phone(served: str, model: Model, open_page: OpenPage) -> None:
    page = await open_page(served, **LOOKS["phone"])
    chat = ChatPage(page)
    await chat.ask("On the phone")
    await chat.last_answer_is("completed")
    link = chat.chats.get_by_role("link", name="On the phone")
    await expect(link).to_be_hidden()
    show = page.get_by_role("button", name="Show chats")
    await show.click()
    await expect(link).to_be_visible()
    await expect(chat.chats.locator(".brand")).to_be_focused()  # two frames later: now the list has the keyboard
    await page.keyboard.press("Escape")
    await expect(link).to_be_hidden()
    await expect(show).to_be_focused()
    await show.click()
    await link.click()
    await expect(link).to_be_hidden()
    await expect(chat.prompts).to_be_visible()


async def test_a_window_made_wider_has_no_drawer(served: str, open_page: OpenPage) -> None:
    page = await open_page(served, viewport={"width": 600, "height": 900})
    await page.get_by_role("button", name="Show chats").click()
    await expect(page.locator(".main")).to_have_attribute("inert", "")
    await page.set_viewport_size({"width": 1200, "height": 900})
    await expect(page.locator(".main")).not_to_have_attribute("inert", "")
    await ChatPage(page).composer.click()
    await page.set_viewport_size({"width": 600, "height": 900})
    await expect(page.get_by_role("navigation", name="Chats")).to_be_hidden()


@pytest.mark.parametrize("address", ["/login/", "/nothing-here/"])
@pytest.mark.parametrize("look", LOOKS)
async def test_the_pages_beside_the_chat_pass_axe(served: str, open_page: OpenPage, look: str, address: str) -> None:
    page = await open_page(served + address, expect_failures=True, **LOOKS[look])
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await check(page)
