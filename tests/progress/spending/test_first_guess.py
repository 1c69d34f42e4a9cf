"""How long an answer may be, by what is asked for."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.catalogue.tokens import text_tokens
from omni_batch.progress.spending.first_guess import guess_answer
from omni_batch.types import Media, Message, Part, Request

LONG = "The quick brown fox jumps over the lazy dog. " * 40


def asked(*parts: Part, system: str | None = None, spoken: bool = False, **options: Any) -> Request:
    role = (Message("system", (system,)),) if system else ()
    messages = (*role, Message("user", parts))
    return Request("m", messages, "text", wants_audio=spoken, options=options)


@pytest.mark.parametrize(
    ("shorter", "longer"),
    [
        ("Is it a cat? Yes or no.", "Describe it in one sentence."),
        ("Answer with only the label.", "Describe it in one sentence."),
        ("Describe it in one sentence.", "Describe it in three sentences."),
        ("Describe it in 20 words.", "Describe it in 200 words."),
        ("Give a short caption.", "Describe it."),
        ("Give the colours as JSON.", "Write about the colours."),
        ("一句话描述", "描述"),
    ],
)
def test_who_asks_for_less_gets_less(shorter: str, longer: str) -> None:
    one, other = guess_answer(asked(shorter), None), guess_answer(asked(longer), None)
    assert one.likely < other.likely
    assert one.high < other.high


def test_what_is_read_aloud_is_as_long_as_it_is() -> None:
    said = guess_answer(asked(f"Read aloud: {LONG}"), None)
    assert said.low < text_tokens(LONG) < said.high
    assert guess_answer(asked("Say hello."), None).high < 50


def test_a_transcript_is_as_long_as_the_sound() -> None:
    def sound(duration_s: float) -> Request:
        return asked(Media("audio", "a.wav", duration_s=duration_s), "Transcribe the recording.")

    minute, hour = guess_answer(sound(60), None), guess_answer(sound(3600), None)
    assert minute.low < 200 < minute.high
    assert hour.likely == pytest.approx(60 * minute.likely)


def test_the_sound_of_an_example_makes_no_transcript_longer() -> None:
    hour = Media("audio", "a.wav", duration_s=3600)
    plain = asked(Media("audio", "b.wav", duration_s=60), "Transcribe the recording.")
    shown = (Message("user", (hour,), is_example=True), *plain.messages)
    assert guess_answer(replace(plain, messages=shown), None) == guess_answer(plain, None)


def test_the_system_message_may_ask_for_it() -> None:
    request = asked("What is it?", system="Answer with one word.")
    assert guess_answer(request, None).high < 20


def test_a_response_format_asks_for_json() -> None:
    request = asked("What is it?", response_format={"type": "json_object"})
    assert guess_answer(request, None) == guess_answer(asked("As JSON."), None)


def test_speech_takes_tokens_beside_its_text() -> None:
    line = f"Say: {LONG}"
    text, spoken = asked(line), asked(line, spoken=True)
    assert guess_answer(spoken, 12.5).likely > 3 * guess_answer(text, 12.5).likely
    assert guess_answer(spoken, None) == guess_answer(text, None)


def test_thoughts_come_on_top_within_their_budget() -> None:
    request = asked("What is it?", thinking_budget=500)
    plain, thinking = guess_answer(request, None), guess_answer(request, None, thinks=True)
    assert thinking.high == plain.high + 500
    assert guess_answer(asked("What is it?"), None, thinks=True).high > plain.high + 500


@given(st.text(max_size=200), st.integers(1, 100), st.booleans(), st.booleans())
def test_no_answer_is_longer_than_it_may_be(
    prompt: str, most: int, spoken: bool, thinks: bool
) -> None:
    request = asked(prompt, spoken=spoken, max_tokens=most)
    guess = guess_answer(request, 12.5, thinks=thinks)
    assert 0 <= guess.low <= guess.likely <= guess.high <= most


@given(st.text(max_size=200))
def test_any_prompt_has_a_guess_in_order(prompt: str) -> None:
    guess = guess_answer(asked(prompt), None)
    assert 0 <= guess.low <= guess.likely <= guess.high


@given(st.none() | st.booleans() | st.text() | st.floats() | st.lists(st.integers()))
def test_an_option_may_be_anything(value: object) -> None:
    request = asked("Describe it.", max_tokens=value, thinking_budget=value, response_format=value)
    assert guess_answer(request, 12.5, thinks=True).high >= 0


def test_a_prompt_of_any_length_is_read_at_its_ends_only() -> None:
    request = asked("word " * 1_000_000 + "Answer with yes or no.")
    assert guess_answer(request, None).high < 20
