"""What a server says of its limits in headers, in every form of a time."""

from datetime import UTC, datetime
from time import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.stream.rate_limit_headers import LONGEST_WAIT_S, server_limits, wait_of


def used_up(reset: str) -> float | None:
    """The wait that follows from nothing left and this reset."""
    found = server_limits(
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset}
    )
    assert found is not None
    return found.wait_s


@pytest.mark.parametrize(
    ("reset", "wait_s"),
    [
        ("1s", 1), ("6m0s", 120), ("250ms", 0.25), ("1m12s", 72), ("1.5", 1.5), ("60", 60),
        ("500µs", 0.0005), ("1d", 120), ("", None), ("soon", None), ("-3", None), ("nan", None),
        ("0", None), ("0s", None), ("inf", 120),
    ],
)  # fmt: skip
def test_a_reset_may_be_a_length_of_time(reset: str, wait_s: float | None) -> None:
    assert used_up(reset) == wait_s


@pytest.mark.parametrize("unit", [1, 1e3, 1e6, 1e9])
def test_a_reset_may_be_a_moment_since_1970(unit: float) -> None:
    assert used_up(f"{(time() + 40) * unit:.0f}") == pytest.approx(40, abs=5)
    assert used_up(f"{1_741_305_600 * unit:.0f}") is None


def test_a_reset_may_be_a_date() -> None:
    soon = datetime.fromtimestamp(time() + 40, UTC)
    for text in (f"{soon:%Y-%m-%dT%H:%M:%SZ}", f"{soon:%a, %d %b %Y %H:%M:%S GMT}"):
        assert used_up(text) == pytest.approx(40, abs=5)
    for past in ("2015-10-21T07:28:00Z", "2015-10-21 07:28:00", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert used_up(past) is None


def test_a_reset_says_nothing_while_something_is_left() -> None:
    found = server_limits(
        {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "30s"}
    )
    assert found is not None
    assert found.wait_s is None


def test_limits_of_a_minute_are_read() -> None:
    found = server_limits({"x-ratelimit-limit-requests": "60", "x-ratelimit-limit-tokens": "inf"})
    assert found is not None
    assert (found.requests_per_minute, found.tokens_per_minute) == (60, None)
    assert server_limits({"content-type": "x"}) is None


@given(st.text(max_size=30))
def test_no_header_breaks_it(text: str) -> None:
    wait_s = wait_of(text)
    assert wait_s is None or isinstance(wait_s, float)
    assert used_up(text) is None or 0 < (used_up(text) or 0) <= LONGEST_WAIT_S
