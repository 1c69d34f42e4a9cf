"""Amounts of money in a configuration."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.config import CostLimit, parse_config
from tests.config.support import MINIMAL


@pytest.mark.parametrize(
    ("written", "limit"),
    [
        (5, CostLimit(5)),
        (0.05, CostLimit(0.05)),
        ("5", CostLimit(5)),
        ("1e3", CostLimit(1000)),
        ("5 USD", CostLimit(5, "USD")),
        (" .5  cny ", CostLimit(0.5, "CNY")),
    ],
)
def test_an_amount_of_money_has_a_currency_or_none(written: Any, limit: CostLimit) -> None:
    config = parse_config({**MINIMAL, "budget": {"max_cost": written}})
    assert config.budget.max_cost == limit
    kept = config.model_dump(mode="json")
    assert parse_config(kept) == config
    assert parse_config(config.model_dump()) == config


@given(st.floats(1e-9, 1e9), st.sampled_from([None, "USD", "CNY"]))
def test_an_amount_is_read_back_as_it_was_written(amount: float, currency: str | None) -> None:
    limit = CostLimit(amount, currency)
    found = parse_config({**MINIMAL, "budget": {"max_cost": limit.kept()}}).budget.max_cost
    assert found is not None
    assert found.currency == currency
    assert found.amount == pytest.approx(amount, rel=1e-11)
