"""What items will take, learned from what they took."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.catalogue.tokens import PromptEstimate
from omni_batch.progress.estimates import FIRST_GUESS_TOKENS, TokenEstimates
from omni_batch.types import Usage

ESTIMATE = PromptEstimate(text=100, image=500)


def bill(text: int, completion: int) -> Usage:
    return Usage(text, completion, text + completion, prompt_text_tokens=text)


@pytest.mark.parametrize("wants_audio", [False, True])
def test_before_any_answer_it_guesses(wants_audio: bool) -> None:
    forecast = TokenEstimates()
    expected = forecast.tokens(ESTIMATE, spoken=wants_audio)
    assert expected == 600 + FIRST_GUESS_TOKENS[wants_audio]


def test_text_is_corrected_and_media_are_not() -> None:
    forecast = TokenEstimates()
    for _ in range(3):
        forecast.learn(100, bill(text=150, completion=40), spoken=False)
    assert forecast.text_factor == pytest.approx(1.5)
    assert forecast.tokens(ESTIMATE, spoken=False) == pytest.approx(500 + 150 + 40)
    expected = pytest.approx(500 + 150 + FIRST_GUESS_TOKENS[True])
    assert forecast.tokens(ESTIMATE, spoken=True) == expected


def test_a_bill_without_details_teaches_nothing_of_text() -> None:
    forecast = TokenEstimates()
    forecast.learn(100, Usage(900, 10, 910), spoken=False)
    assert forecast.text_factor == 1


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), max_size=60))
def test_no_bill_makes_the_factor_absurd(bills: list[tuple[int, int]]) -> None:
    forecast = TokenEstimates()
    for estimated, billed in bills:
        forecast.learn(estimated, bill(billed, 10), spoken=False)
    assert 0.25 <= forecast.text_factor <= 4
