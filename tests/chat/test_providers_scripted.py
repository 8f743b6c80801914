"""The provider without a model: it sends what its script says, and refuses scripts that make no sense."""

import asyncio
from contextlib import aclosing

import pytest

from chat.providers.base import Finish
from chat.providers.scripted import Script, ScriptedProvider
from chat.stream_state import EndReason
from tests.chat.heard import Resting, asking, failure, heard
from tests.corpus import plain_text


def scripted(script: str = "scripted:?rate=0") -> ScriptedProvider:
    return ScriptedProvider(Script.parse(script))


async def test_it_sends_numbered_tokens_that_prove_themselves() -> None:
    answer = await heard(scripted("scripted:?tokens=1000&rate=0"), "hello there")
    assert answer.text == plain_text(1000)
    assert answer.finish == Finish(EndReason.COMPLETED, 2, 1000)


async def test_a_prompt_that_is_a_script_chooses_its_own_answer() -> None:
    assert (await heard(scripted(), "scripted:?tokens=3&rate=0")).text == plain_text(3)


async def test_a_rate_is_kept_over_time() -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    await heard(scripted("scripted:?tokens=60&rate=200"), "hello")
    assert 0.29 <= loop.time() - started <= 0.6


async def test_a_text_of_ones_own_is_sent_as_it_is() -> None:
    text = "# Ein Titel\n\n<b>& 100 %</b> 😀"
    answer = await heard(scripted(), "scripted:?rate=0&text=%23%20Ein%20Titel%0A%0A<b>%26%20100%20%25</b>%20😀")
    assert answer.text == text


async def test_it_can_say_that_it_is_loading_and_be_cut_by_length() -> None:
    answer = await heard(scripted("scripted:?loading=0.01&finish=length&tokens=2&first_delay=0.01"), "hello")
    assert answer.loading == 1
    assert answer.finish is not None
    assert answer.finish.reason is EndReason.LENGTH


async def test_it_can_fail_after_some_tokens() -> None:
    error, text = await failure(scripted("scripted:?error_after=5&rate=0"), "hello")
    assert text == plain_text(5)
    assert error.code is EndReason.PROVIDER_ERROR


async def test_it_can_hang_and_be_left() -> None:
    answer = scripted("scripted:?hang_after=2&rate=0").stream(asking("hello"))
    assert await anext(answer) == [Script().piece(0), Script().piece(1)]
    hanging = asyncio.ensure_future(anext(answer))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hanging, 0.05)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("scripted:tokens=5", "looks like"),
        ("scripted:?tokens=many", "tokens is a number"),
        ("scripted:?tokens=1.5", "tokens is a number"),
        ("scripted:?rate=-1", "rate is a number"),
        ("scripted:?rate=nan", "rate is a number"),
        ("scripted:?tokens=", "tokens is a number"),
        ("scripted:?speed=5", "no 'speed'"),
        ("scripted:?finish=never", "stop or length"),
    ],
)
async def test_a_script_that_makes_no_sense_is_refused(script: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Script.parse(script)
    if script.startswith("scripted:?"):
        error, _ = await failure(scripted(), script)
        assert words in error.message


async def test_who_rests_reads_what_is_due_and_leaves_the_end_to_the_reader() -> None:
    rest = Resting()
    provider = ScriptedProvider(Script())
    async with aclosing(provider.stream(asking("scripted:?tokens=20&rate=200"), rest)) as answer:
        tokens = await anext(answer)
        assert isinstance(tokens, list)
        tokens += rest.read()
        assert len(tokens) < 20
        async with asyncio.timeout(5):
            await rest.ended.wait()
        tokens += rest.read()
        assert "".join(tokens) == plain_text(20)
        assert not rest.read()
        assert isinstance(await anext(answer), Finish)
