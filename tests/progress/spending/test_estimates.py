"""What items will take, learned from what they took."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.catalogue import Price
from omni_batch.catalogue.prices import Pricing
from omni_batch.catalogue.tokens import PromptEstimate
from omni_batch.progress.spending.estimates import (
    AnswerBill,
    TokenEstimates,
    answers_like,
    cost_of_work,
)
from omni_batch.progress.spending.workload import Range, Workload
from omni_batch.types import Usage

ONE = Workload(1, PromptEstimate(text=100, image=500), Range(10, 250, 1000))
SOME = Workload(4, PromptEstimate(text=400, image=2000), Range(40, 1000, 4000))


def bill(text: int, completion: int, audio: int | None = None) -> Usage:
    return Usage(
        text,
        completion,
        text + completion,
        prompt_text_tokens=text,
        completion_audio_tokens=audio,
    )


@pytest.mark.parametrize("spoken", [False, True])
def test_before_any_answer_it_guesses(spoken: bool) -> None:
    estimates = TokenEstimates()
    assert estimates.tokens(ONE, spoken=spoken) == 600 + 250
    assert estimates.answers(SOME, spoken=spoken) == SOME.answers
    assert not estimates.knows(spoken=spoken)


def test_text_is_corrected_and_media_are_not() -> None:
    estimates = TokenEstimates()
    for _ in range(3):
        estimates.learn(100, bill(text=150, completion=40), spoken=False)
    assert estimates.text_factor == pytest.approx(1.5)
    assert estimates.tokens(ONE, spoken=False) == pytest.approx(500 + 150 + 40)
    assert estimates.tokens(ONE, spoken=True) == pytest.approx(500 + 150 + 250)


def test_a_bill_without_details_teaches_nothing_of_text() -> None:
    estimates = TokenEstimates()
    estimates.learn(100, Usage(900, 10, 910), spoken=False)
    assert estimates.text_factor == 1


def test_the_longest_answer_bounds_all_once_a_few_are_known() -> None:
    estimates = TokenEstimates()
    for completion in (30, 20, 70):
        estimates.learn(100, bill(100, completion), spoken=False)
    assert estimates.answers(SOME, spoken=False) == Range(80, 160, 4000)  # three may all be short
    for completion in [20, 60] * 9:
        estimates.learn(100, bill(100, completion), spoken=False)
    found = estimates.answers(SOME, spoken=False)
    assert (found.low, found.high) == (80, 280)
    assert found.likely == pytest.approx(160)


def test_only_answers_of_late_count_as_the_longest() -> None:
    bills = [AnswerBill(9000), *[AnswerBill(10)] * 50]
    assert TokenEstimates(bills).answers(ONE, spoken=False).high == 10


def test_speech_is_paid_by_its_own_tokens_as_far_as_bills_tell_them() -> None:
    price = Price(region="beijing", currency="CNY", text_in=1.0, audio_out=50.0)
    spoken = Workload(1, PromptEstimate(text=100), Range(10, 100, 200))
    estimates = TokenEstimates()
    tokens, cost = cost_of_work(estimates, spoken, 100, Pricing(price, True))
    assert tokens == 200
    assert cost == pytest.approx((100 * 1.0 + 100 * 50.0) / 1e6)
    estimates.learn(100, bill(100, 100, audio=80), spoken=True)
    _, cost = cost_of_work(estimates, spoken, 100, Pricing(price, True))
    assert cost == pytest.approx((100 * 1.0 + 80 * 50.0) / 1e6)


def test_without_a_price_there_are_tokens_and_no_money() -> None:
    assert cost_of_work(TokenEstimates(), ONE, 50, Pricing(None, False)) == (650, 0.0)


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), max_size=60))
def test_no_bill_makes_the_factor_absurd(bills: list[tuple[int, int]]) -> None:
    estimates = TokenEstimates()
    for estimated, billed in bills:
        estimates.learn(estimated, bill(billed, 10), spoken=False)
    assert 0.25 <= estimates.text_factor <= 4


# --- by an earlier run ---


def test_answers_like_earlier_ones_are_a_range_around_their_mean() -> None:
    known = [AnswerBill(tokens) for tokens in (99, 100, 101) * 50]
    found = answers_like(known, 400, spoken=False)
    assert found is not None
    assert found.likely == pytest.approx(40_000)
    assert found.low == pytest.approx(36_000)
    assert found.high == pytest.approx(44_000)


def test_answers_of_many_lengths_make_a_wide_range() -> None:
    known = [AnswerBill(tokens) for tokens in (10, 500) * 10]
    found = answers_like(known, 400, spoken=False)
    assert found is not None
    assert found.high - found.low > 0.8 * found.likely


def test_a_few_answers_or_answers_of_another_kind_say_nothing() -> None:
    assert answers_like([AnswerBill(10)] * 4, 100, spoken=False) is None
    assert answers_like([AnswerBill(10)] * 50, 100, spoken=True) is None


@given(
    st.lists(st.integers(0, 10_000), min_size=5, max_size=100),
    st.integers(1, 10**6),
)
def test_the_range_holds_its_middle_and_is_never_negative(lengths: list[int], items: int) -> None:
    found = answers_like([AnswerBill(length) for length in lengths], items, spoken=False)
    assert found is not None
    assert 0 <= found.low <= found.likely <= found.high
