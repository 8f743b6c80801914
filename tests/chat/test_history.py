"""What the model is given: always the newest prompt, then as many whole turns as fit."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.history import MESSAGE_TOKENS, choose, estimate_tokens, halved
from chat.providers.base import ModelMessage

SYSTEM = "You are Jarvis."


def user(text: str) -> ModelMessage:
    return ModelMessage("user", text)


def assistant(text: str) -> ModelMessage:
    return ModelMessage("assistant", text)


def cost(messages: tuple[ModelMessage, ...]) -> int:
    return sum(MESSAGE_TOKENS + estimate_tokens(m.content) for m in messages)


def test_all_is_given_when_it_fits() -> None:
    talk = [user("a"), assistant("b"), user("c")]
    assert choose(talk, SYSTEM, 1500) == (ModelMessage("system", SYSTEM), *talk)


def test_without_a_system_prompt_none_is_given() -> None:
    assert choose([user("a")], "", 1500) == (user("a"),)


def test_the_oldest_turns_go_first_and_whole() -> None:
    talk = [m for n in range(20) for m in (user(f"question {n}"), assistant(f"answer {n} " + "word " * 90))]
    chosen = choose([*talk, user("the newest")], SYSTEM, 1500)
    kept = chosen[1:]
    assert cost(chosen) <= 1500
    assert kept[0].role == "user"
    assert kept == tuple([*talk, user("the newest")][-len(kept) :])
    assert len(kept) > 10


def test_twenty_long_answers_fit_every_time() -> None:
    talk: list[ModelMessage] = []
    for n in range(20):
        chosen = choose([*talk, user(f"question {n}")], SYSTEM, 1500)
        assert cost(chosen) <= 1500
        assert chosen[-1] == user(f"question {n}")
        talk += [user(f"question {n}"), assistant(f"answer {n}: " + "A long sentence follows here. " * 80)]


def test_an_interrupted_answer_is_given_as_far_as_it_was_seen() -> None:
    talk = [user("tell me all"), assistant("Once upon a"), user("shorter")]
    assert choose(talk, "", 1500) == tuple(talk)


def test_an_answer_without_text_is_left_out_and_its_prompt_kept() -> None:
    talk = [user("What is Rust?"), assistant(""), user("In one word.")]
    assert choose(talk, "", 1500) == (user("What is Rust?"), user("In one word."))


def test_a_prompt_sent_again_is_given_once() -> None:
    talk = [user("hello"), assistant(""), user("hello"), assistant(""), user("hello")]
    assert choose(talk, "", 1500) == (user("hello"),)


def test_system_messages_follow_the_system_prompt_in_one() -> None:
    talk = [ModelMessage("system", "Be brief."), user("a")]
    assert choose(talk, SYSTEM, 1500) == (ModelMessage("system", f"{SYSTEM}\n\nBe brief."), user("a"))


def test_a_prompt_too_large_by_itself_keeps_both_ends_and_says_so() -> None:
    (prompt,) = choose([user("first words " + "x y " * 5000 + " last words")], "", 1500)
    assert prompt.content.startswith("first words")
    assert prompt.content.endswith("last words")
    assert "characters left out" in prompt.content
    assert 1200 <= cost((prompt,)) <= 1500


def test_the_turn_before_the_newest_is_shortened_rather_than_left_out() -> None:
    talk = [user("an essay"), assistant("It began " + "and on it went " * 2000 + "and so it ended."), user("go on")]
    chosen = choose(talk, SYSTEM, 1500)
    assert [m.role for m in chosen] == ["system", "user", "assistant", "user"]
    assert chosen[1] == user("an essay")
    assert chosen[2].content.endswith("and so it ended.")
    assert cost(chosen) <= 1500


def test_halving_keeps_the_system_prompt_and_the_newest_prompt() -> None:
    talk = [m for n in range(9) for m in (user(f"question {n}"), assistant("word " * 100))]
    chosen = choose([*talk, user("the newest")], SYSTEM, 1500)
    again = halved(chosen)
    assert again[0] == chosen[0]
    assert again[-1] == user("the newest")
    assert cost(again) <= cost(chosen) // 2


def test_halving_shortens_a_single_long_prompt() -> None:
    chosen = choose([user("word " * 5000)], "", 1500)
    assert cost(halved(chosen)) <= cost(chosen) // 2


def test_nothing_is_made_of_nothing() -> None:
    assert choose([assistant("")], "", 1500) == ()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [  # counted by SmolLM2's own tokenizer
        ("It was a bright cold day in April, and the clocks were striking thirteen. " * 20, 321),
        ("Съешь ещё этих мягких французских булок, да выпей чаю. " * 20, 1022),
        ("敏捷的棕色狐狸跳过了懒狗。今天天气很好，我们去公园散步吧，顺便喝一杯咖啡。" * 20, 1560),
        ("0123456789" * 50, 500),
        ("| a | b | 12.5 |\n|---|---|---|\n" * 20, 400),
    ],
)
def test_the_estimate_is_near_and_rather_high(text: str, tokens: int) -> None:
    assert 0.95 * tokens <= estimate_tokens(text) <= 1.6 * tokens


def test_a_megabyte_is_estimated_and_shortened_in_milliseconds() -> None:
    started = time.process_time()
    choose([user("naïve words, " * 80_000)], SYSTEM, 1500)
    assert time.process_time() - started < 0.25  # measured: 0.01


messages = st.lists(st.builds(ModelMessage, st.sampled_from(["user", "assistant", "system"]), st.text(max_size=900)))


@given(messages, st.text(max_size=300), st.integers(120, 1500))
def test_whatever_was_said_fits_and_ends_with_the_newest_prompt(
    talk: list[ModelMessage], system: str, context_tokens: int
) -> None:
    talk = [*talk, user("the newest")]
    chosen = choose(talk, system, context_tokens)
    assert cost(chosen) <= context_tokens
    assert all(m.content for m in chosen)
    assert chosen[-1] == user("the newest")
    assert [m.role for m in chosen].count("system") <= 1
    assert all(before != after for before, after in pairwise(chosen))
