# ruff: noqa: T201
"""`make run` as a newcomer sees it: a question typed into the page in Chromium, and its answer as it is written.

Usage: python -m tests.debian12_page PICTURE    (file for what the page looked like in the middle of the answer)
"""

import asyncio
import os
import re
import signal
import subprocess
import sys

from playwright.async_api import async_playwright, expect

from tests.browser.chat_page import ChatPage
from tests.debian12_run import QUESTION, wait_until_ready

ANSWER_MILLISECONDS = 120_000


async def ask_in_the_page(address: str, picture: str) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        chat = ChatPage(await browser.new_page())
        await chat.page.goto(address)
        await chat.ask(QUESTION)
        await expect(chat.texts).to_have_text(re.compile(r"\S"), timeout=ANSWER_MILLISECONDS)
        lengths = [0]
        while len(lengths) < 4:
            text = await chat.texts.inner_text()
            lengths += [len(text)] * (len(text) > lengths[-1])
            await expect(chat.answers).to_have_attribute("data-state", "streaming")
        await chat.page.screenshot(path=picture)
        print(f"--- the page has shown {lengths[1:]} characters, one after the other: {text!r}", flush=True)
        await expect(chat.answers).not_to_have_attribute("data-state", "streaming", timeout=ANSWER_MILLISECONDS)
        print(f"--- ended: {await chat.answers.get_attribute('data-state')}", flush=True)
        await browser.close()


def main() -> None:
    jarvis = subprocess.Popen(["make", "run"], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert jarvis.stdout
    try:
        asyncio.run(ask_in_the_page(wait_until_ready(jarvis.stdout), sys.argv[1]))
    finally:
        os.killpg(jarvis.pid, signal.SIGINT)
        jarvis.wait()


if __name__ == "__main__":
    main()
