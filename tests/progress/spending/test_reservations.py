"""What is in flight is reserved: one more starts only where it fits beside the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.catalogue import Price
from omni_batch.catalogue.prices import Pricing
from omni_batch.catalogue.tokens import PromptEstimate
from omni_batch.config import BudgetConfig
from omni_batch.counts import Counts
from omni_batch.progress.spending.estimates import AnswerBill, TokenEstimates
from omni_batch.progress.spending.reservations import Reservations
from omni_batch.progress.spending.workload import Group, Range, Workload

DEAR = Price(region="a", currency="USD", text_in=1000.0, text_out=1000.0, text_out_media=1000.0)
FREE = Price(region="b", currency="USD", text_in=0.0, text_out=0.0)
ONE = Workload(1, PromptEstimate(text=10), Range(0, 20, 90))
A: Group = ("a", False)
B: Group = ("b", False)


def prices(endpoint: str, spoken: bool) -> Pricing:
    return Pricing(DEAR if endpoint == "a" else FREE, spoken)


def reservations(known: int = 0, **budget: object) -> Reservations:
    """Of answers of 20 tokens, so many of which are known."""
    limits = BudgetConfig.model_validate(budget)
    return Reservations(limits, TokenEstimates([AnswerBill(20)] * known), prices)


def test_without_a_limit_everything_fits() -> None:
    found = reservations()
    found.add(A, ONE)
    assert found.obstacle(Counts(completion_tokens=10**9), A, ONE) is None


def test_the_first_one_goes_alone_to_find_out_how_long_answers_are() -> None:
    found = reservations(max_tokens=50)  # by the longest guess not one would fit
    assert found.obstacle(Counts(), A, ONE) is None
    found.add(A, ONE)
    assert found.obstacle(Counts(), A, ONE)


def test_its_prompt_must_fit_all_the_same() -> None:
    found = reservations(max_tokens=9)
    assert found.obstacle(Counts(), A, ONE)


def test_as_many_start_as_the_budget_holds() -> None:
    found = reservations(known=50, max_tokens=100)
    for _ in range(3):  # 30 tokens each
        assert found.obstacle(Counts(), A, ONE) is None
        found.add(A, ONE)
    assert found.obstacle(Counts(), A, ONE)
    found.remove(A, ONE)  # it cost less than was expected
    assert found.obstacle(Counts(prompt_tokens=10), A, ONE) is None


def test_alone_a_likely_answer_has_to_fit_and_beside_others_the_longest() -> None:
    estimates = TokenEstimates([*[AnswerBill(10)] * 49, AnswerBill(510)])
    found = Reservations(BudgetConfig(max_tokens=60), estimates, prices)
    assert found.obstacle(Counts(), A, ONE) is None
    found.add(A, ONE)
    assert found.obstacle(Counts(), A, ONE)


def test_money_is_reserved_at_the_price_of_the_endpoint() -> None:
    found = reservations(known=50, max_cost="0.05 USD")
    found.add(A, ONE)  # 30 tokens: 0.03 USD
    assert found.obstacle(Counts(), B, ONE) is None
    assert "would pass budget.max_cost 0.05 USD" in str(found.obstacle(Counts(), A, ONE))
    assert "omni-batch resume" in str(found.obstacle(Counts(), A, ONE))


def test_what_cut_attempts_may_have_cost_is_spent() -> None:
    found = reservations(known=50, max_cost="0.05 USD")
    assert found.obstacle(Counts(estimated_cost={"USD": 0.03}), A, ONE)


def test_answers_longer_than_expected_count_for_those_in_flight_too() -> None:
    estimates = TokenEstimates([AnswerBill(20)] * 50)
    found = Reservations(BudgetConfig(max_tokens=200), estimates, prices)
    for _ in range(3):
        found.add(A, ONE)
    assert found.obstacle(Counts(), A, ONE) is None
    estimates = TokenEstimates([AnswerBill(60)] * 50)
    found = Reservations(BudgetConfig(max_tokens=200), estimates, prices)
    for _ in range(3):
        found.add(A, ONE)
    assert found.obstacle(Counts(), A, ONE)


@given(st.lists(st.sampled_from([A, B]), max_size=30))
def test_with_all_of_them_ended_nothing_is_reserved(groups: list[Group]) -> None:
    found = reservations(max_tokens=1000)
    for group in groups:
        found.add(group, ONE)
    assert found.none == (not groups)
    for group in groups:
        found.remove(group, ONE)
    assert found.none


@pytest.mark.parametrize("limit", [{"max_tokens": 5000}, {"max_cost": "5 USD"}])
def test_nothing_is_refused_while_there_is_plenty(limit: dict[str, object]) -> None:
    found = reservations(known=50, **limit)
    for _ in range(100):
        assert found.obstacle(Counts(), A, ONE) is None
        found.add(A, ONE)
