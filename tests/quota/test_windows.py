"""How far a limit is used, by the way in which a service counts it. In virtual time."""

import pytest

from tests.benchmarks.quota_scenarios import CASES, run_case
from tests.quota.laws import Service, limiter, run

BY_NAME = {case.name: case for case in CASES}
STRICT = ("sliding-second", "whole-second", "bucket-1")


def figures(name: str) -> dict[str, float]:
    """Of the first seed."""
    return dict(run_case(BY_NAME[name], 0).figures)


@pytest.mark.parametrize("window", ["sliding-second", "whole-second", "whole-minute", "bucket-10"])
def test_a_known_limit_is_used_to_the_full_and_never_passed(window: str) -> None:
    found = figures(f"strict-{window}-600-30")
    assert found["ratio_to_mean_latency"] <= 1.02
    assert found["refused"] == 0


def test_where_each_start_counts_for_itself_the_distance_is_found_by_two_refusals() -> None:
    """The network moves starts by up to 4 ms, of the 100 ms between them."""
    found = figures("strict-bucket-1-600-120")
    assert found["ratio_to_mean_latency"] <= 1.05
    assert found["refused"] <= 2


@pytest.mark.parametrize("window", STRICT)
def test_half_of_what_is_stated_is_found_out_soon(window: str) -> None:
    found = figures(f"double-requests-{window}-1200")
    assert found["ratio"] <= 1.10
    assert found["refused_share"] <= 0.02


@pytest.mark.parametrize("window", STRICT)
def test_the_next_run_begins_with_what_was_found_out(window: str) -> None:
    first, second = (
        figures(f"double-requests-{window}-1200"),
        figures(f"next-run-requests-{window}-1200"),
    )
    assert second["makespan_s"] <= first["makespan_s"]
    assert second["refused"] < first["refused"]


def test_a_limit_that_was_found_is_tried_again_at_the_cost_of_little() -> None:
    service, quota = Service(per_s=10), limiter(requests_per_minute=1200, max_in_flight=100)
    run(service.kept_busy(quota, 1200))
    late = [at_s for at_s in service.served_s if at_s >= 600]
    assert len(late) >= 0.99 * 10 * 600
