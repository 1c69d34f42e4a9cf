"""Numbers as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch import format as fmt


@pytest.mark.parametrize(
    ("low", "high", "unit", "shown"),
    [
        (4012, 61_234, "", "4,000 to 61,000"),
        (0.012345, 0.1789, "USD", "0.012 to 0.18 USD"),
        (1.44, 1.44, "CNY", "about 1.4 CNY"),
        (11_310, 11_420, "", "about 11,000"),
        (0, 9.96, "USD", "0 to 10 USD"),
        (0, 0, "", "about 0"),
        (99.6, 0.99, "", "100 to 0.99"),
    ],
)
def test_an_estimate_is_as_exact_as_it_can_be(
    low: float, high: float, unit: str, shown: str
) -> None:
    assert fmt.estimate(low, high, unit) == shown


@given(st.floats(1e-9, 1e15))
def test_two_digits_are_within_five_per_cent(value: float) -> None:
    shown = float(fmt.estimate(value, value).removeprefix("about ").replace(",", ""))
    assert shown == pytest.approx(value, rel=0.051)
