"""How much of a quota was used, by laws: attempts and limits at given times."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from omni_batch import format as fmt
from omni_batch.analytics.report.collect import collect
from omni_batch.analytics.report.facts import LimitStep, QuotaUse, RunReport
from omni_batch.analytics.report.quota_use import (
    allowed,
    combined,
    known_since,
    limits_in_words,
)
from omni_batch.endpoint_status import EndpointStatus, LimitsInForce
from omni_batch.types import Attempt, Usage
from tests.support.written_runs import TIME, Written, write_run

TOKENS = 100


def at(second: float) -> datetime:
    return TIME + timedelta(seconds=second)


def endpoint(name: str, *limits: tuple[float, float | None, float | None]) -> EndpointStatus:
    """Limits as (from which second, requests a minute, tokens a minute)."""
    return EndpointStatus(name, limits=tuple(LimitsInForce(at(s), r, t) for s, r, t in limits))


def run(
    folder: Path,
    seconds: Iterable[float],
    *endpoints: EndpointStatus,
    elapsed_s: float = 1e9,
) -> RunReport:
    """A run that sent a request of 100 tokens at each of these seconds."""
    usage = Usage(TOKENS - 20, 20, TOKENS)
    rows = [
        Written(f"i{n}", attempts=(Attempt(1, at(second), 0.1, usage=usage),))
        for n, second in enumerate(seconds)
    ]
    rows = rows or [Written("i0", attempts=())]
    written = write_run(
        folder / "run", rows, items=len(rows), endpoints=endpoints, elapsed_s=elapsed_s
    )
    return collect(written)


def requests(report: RunReport) -> QuotaUse:
    return report.quotas[0]


def every(seconds: float, until: float, start: float = 0) -> list[float]:
    return [start + n * seconds for n in range(round((until - start) / seconds))]


@pytest.mark.parametrize("minutes", [1, 10])
def test_a_run_at_the_pace_of_its_limit_uses_it_fully(tmp_path: Path, minutes: int) -> None:
    report = run(tmp_path, every(1, 60 * minutes), endpoint("a", (0, 60, None)))
    use = requests(report)
    assert use.used == pytest.approx(1)
    assert use.peak_used == pytest.approx(1)
    assert fmt.share(use.used) == "100 %"
    assert use.mean_per_minute == pytest.approx(60)
    assert use.peak_per_minute == 60


def test_a_run_of_ten_seconds_at_that_pace_uses_it_fully(tmp_path: Path) -> None:
    use = requests(run(tmp_path, every(1, 10), endpoint("a", (0, 60, None))))
    assert use.used == pytest.approx(1)
    assert use.peak_used == pytest.approx(10 / 60)


def test_half_the_pace_is_half_the_quota(tmp_path: Path) -> None:
    assert requests(run(tmp_path, every(2, 300), endpoint("a", (0, 60, None)))).used == (
        pytest.approx(0.5)
    )


def test_a_limit_that_doubles_half_way_counts_as_it_was(tmp_path: Path) -> None:
    """Both halves use what they may; by the last limit alone it would be 75 %."""
    seconds = [*every(1, 120), *every(0.5, 240, start=120)]
    use = requests(run(tmp_path, seconds, endpoint("a", (0, 60, None), (120, 120, None))))
    assert use.used == pytest.approx(1, abs=0.01)
    assert use.peak_per_minute == 120
    assert use.peak_used == pytest.approx(1)
    assert limits_in_words(use) == "limit 60 to 120"


def test_the_busiest_minute_is_measured_by_its_own_limit(tmp_path: Path) -> None:
    seconds = [*every(1, 120), *every(0.5, 180, start=120), *every(1, 240, start=180)]
    limits = endpoint("a", (0, 60, None), (120, 240, None), (180, 60, None))
    assert requests(run(tmp_path, seconds, limits)).peak_used == pytest.approx(0.5, abs=0.01)


def test_two_endpoints_have_the_sum_of_their_limits(tmp_path: Path) -> None:
    both = endpoint("a", (0, 60, None)), endpoint("b", (0, 60, None), (60, 180, None))
    seconds = [*every(0.5, 60), *every(0.25, 120, start=60)]
    use = requests(run(tmp_path, seconds, *both))
    assert use.limits == (LimitStep(at(0), 120), LimitStep(at(60), 240))
    assert use.used == pytest.approx(1, abs=0.01)


def test_one_endpoint_without_a_limit_leaves_none_for_all(tmp_path: Path) -> None:
    both = endpoint("a", (0, 60, None)), endpoint("b", (0, None, None))
    report = run(tmp_path, every(1, 60), *both)
    assert (requests(report).used, report.nearer_quota) == (None, None)
    assert limits_in_words(requests(report)) == "no limit known"


def test_a_run_that_never_noted_limits_has_none(tmp_path: Path) -> None:
    for endpoints in ((), (EndpointStatus("a"),)):
        use = requests(run(tmp_path / str(len(endpoints)), every(1, 60), *endpoints))
        assert (use.used, use.peak_used, use.limits) == (None, None, ())
        assert use.mean_per_minute == pytest.approx(60)


def test_a_limit_that_is_learned_on_the_way_counts_from_then_on(tmp_path: Path) -> None:
    seconds = [*every(0.1, 60), *every(2, 180, start=60)]
    use = requests(run(tmp_path, seconds, endpoint("a", (0, None, None), (60, 60, None))))
    assert use.used == pytest.approx(0.5)
    assert use.peak_used is None, "no limit was known in that minute"


def test_the_nearer_limit_is_the_one_that_was_used_more(tmp_path: Path) -> None:
    """A request a second of 100 tokens: half of 120 requests, three quarters of 8,000 tokens."""
    report = run(tmp_path, every(1, 60), endpoint("a", (0, 120, 8000)))
    assert report.nearer_quota is report.quotas[1]
    assert report.quotas[1].used == pytest.approx(0.75)


def test_a_rest_between_two_processes_is_not_held_against_a_run(tmp_path: Path) -> None:
    seconds = [*every(1, 60), *every(1, 3660, start=3600)]
    limits = endpoint("a", (0, 60, None))
    assert requests(run(tmp_path, seconds, limits, elapsed_s=120)).used == (
        pytest.approx(1, abs=0.02)
    )


@pytest.mark.parametrize("seconds", [[], [0], [0, 0]])
def test_no_time_between_starts_says_nothing(tmp_path: Path, seconds: list[float]) -> None:
    use = requests(run(tmp_path, seconds, endpoint("a", (0, 60, None))))
    assert (use.used, use.mean_per_minute) == (None, None)


def test_limits_over_time() -> None:
    both = (
        endpoint("a", (0, None, None), (10, 60, None)),
        endpoint("b", (5, 60, None), (30, None, None), (40, 60, None)),
    )
    steps = combined(both, "requests")
    assert steps == (
        *(LimitStep(at(0), None), LimitStep(at(5), None), LimitStep(at(10), 120)),
        *(LimitStep(at(30), None), LimitStep(at(40), 120)),
    )
    assert known_since(steps) == at(40)
    assert allowed(steps, at(10), at(30)) == 40
    assert allowed(steps, at(10), at(31)) is None
    assert allowed(steps, at(40), at(100)) == 120
    assert allowed(combined(both[1:], "requests"), at(-60), at(0)) == 60, "the first holds before"
