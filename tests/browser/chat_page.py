"""The chat page as a person sees it: what can be read on it, and what can be done with it."""

from playwright.async_api import Locator, Page, expect


class ChatPage:
    """Every method waits until what it does has had its effect on the page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.composer = page.get_by_role("textbox", name="Message Jarvis")
        self.prompts = page.locator(".message.user .bubble")
        self.answers = page.locator(".message.assistant")
        self.texts = page.locator(".message.assistant .prose")
        self.stop_button = page.get_by_role("button", name="Stop", exact=True)
        self.chats = page.get_by_role("navigation", name="Chats")
        self.connection = page.locator(".connection")
        self.spoken = page.get_by_role("status").last
        self.transcript = page.get_by_role("region", name="Conversation")
        self.jump = page.get_by_role("button", name="Jump to the newest message")

    async def ask(self, text: str) -> None:
        await self.composer.fill(text)
        await self.composer.press("Enter")
        await expect(self.prompts.last).to_have_text(text)

    async def stop(self) -> None:
        await self.stop_button.click()

    def row(self, title: str) -> Locator:
        return self.chats.get_by_role("listitem").filter(has_text=title)

    async def is_connected(self) -> None:
        await expect(self.connection).to_have_attribute("data-connection", "connected")

    async def last_answer_is(self, state: str) -> None:
        await expect(self.answers.last).to_have_attribute("data-state", state)

    async def at_the_end(self) -> bool:
        return bool(await self.transcript.evaluate("(box) => box.scrollHeight - box.scrollTop - box.clientHeight < 5"))

    async def has_come_to_rest(self) -> None:
        """Away from the end, after the gliding that a key begins."""
        await self.transcript.evaluate(
            """async (box) => {
                const frame = () => new Promise(requestAnimationFrame);
                const end = box.scrollHeight - box.clientHeight;
                while (end - box.scrollTop < 5) await frame();
                for (let before = -1; before !== box.scrollTop; await frame()) before = box.scrollTop;
            }"""
        )

    async def scroll_up(self) -> None:
        await self.transcript.hover()
        await self.page.mouse.wheel(0, -400)
        await expect(self.jump).to_be_visible()
