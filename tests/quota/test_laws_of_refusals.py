"""What any right limiter does about a refusal, whatever it has learned and however it paces."""

from itertools import pairwise
from typing import Any

import pytest

from omni_batch.endpoint_status import Learned
from omni_batch.errors import Limit
from tests.quota.laws import Service, limiter, refusal, request, run, status

FAST: dict[str, Any] = {"requests_per_minute": 60_000, "max_in_flight": 100}


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("limit", ["requests", "tokens", "burst", "unknown"])
def test_nothing_starts_before_the_moment_that_the_service_names(
    limit: Limit, adaptive: bool
) -> None:
    quota = limiter(**FAST, adaptive=adaptive)
    _, *later = run(
        request(quota, takes_s=0.1, error=refusal(limit, 30)),
        *[request(quota, begins_s=1) for _ in range(3)],
    )
    assert min(later) >= 30.1


def test_of_a_volley_of_refusals_each_is_obeyed() -> None:
    """They began together; the one that names the longest wait may come last."""
    quota = limiter(**FAST, adaptive=False)
    *_, later = run(
        request(quota, takes_s=1, error=refusal()),
        request(quota, takes_s=2, error=refusal(retry_after_s=20)),
        request(quota, takes_s=3, error=refusal(retry_after_s=4)),
        request(quota, begins_s=3),
    )
    assert later >= 22


def test_a_refusal_that_is_repeated_is_waited_out_for_longer() -> None:
    quota = limiter(max_in_flight=1)
    starts = run(*[request(quota, error=refusal()) for _ in range(5)])
    waits = [after - before for before, after in pairwise(starts)]
    assert waits == sorted(waits)
    assert waits[-1] > 3 * waits[0]


def test_refusals_get_rarer_the_longer_a_service_is_known() -> None:
    """A rate that was confirmed is not tried out again as often as one that is new."""
    service, quota = Service(per_s=10), limiter(requests_per_minute=1200, max_in_flight=100)
    run(service.kept_busy(quota, 2400))
    first, last = (
        sum(begin <= at_s < begin + 600 for at_s in service.refused_s) for begin in (0, 1800)
    )
    assert last < first
    assert last <= 0.003 * 10 * 600
    assert sum(at_s >= 1800 for at_s in service.served_s) >= 0.9 * 10 * 600


@pytest.mark.parametrize("limit", ["requests", "tokens"])
def test_where_no_limit_is_known_a_refusal_says_that_it_is_near_what_was_used(
    limit: Limit,
) -> None:
    """Five requests of 10 tokens a second went well for half a minute; nothing else is known."""
    quota = limiter(max_in_flight=100)
    steady = [request(quota, 10, begins_s=number / 5) for number in range(150)]
    refused = request(quota, begins_s=30, takes_s=0.1, error=refusal(limit))
    *_, shown = run(*steady, refused, status(quota, 31))
    if limit == "requests":
        assert shown.requests_per_minute is not None
        assert 150 <= shown.requests_per_minute <= 330
    else:
        assert shown.tokens_per_minute is not None
        assert 1500 <= shown.tokens_per_minute <= 3300


def test_after_a_surge_requests_return_more_slowly() -> None:
    def returning(first: Learned | None, *refused: Limit) -> int:
        quota = limiter(first, requests_per_minute=6000, max_in_flight=1000)
        errors = [request(quota, error=refusal(limit, 1)) for limit in refused]
        starts = run(*errors, *[request(quota, begins_s=5) for _ in range(300)])
        begin_s = min(starts[len(refused) :])
        return sum(at_s < begin_s + 2 for at_s in starts[len(refused) :])

    assert returning(None, "burst") < returning(None)
    assert returning(Learned(burst_doubling_s=8)) < returning(None)
