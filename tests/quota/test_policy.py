"""What the policy makes of what it is told. Pure: the test brings the time."""

import pytest

from omni_batch.config import QuotaConfig
from omni_batch.quota.policy import LimiterPolicy


def full_second(policy: LimiterPolicy) -> float:
    """Start what a second may have, as early as it may; returns when the next one may start."""
    now_s = 100.0
    for _ in range(20):
        now_s += policy.wait_s(now_s)
        policy.start(0, now_s)
    begun_s = now_s
    for _ in range(10):
        now_s += policy.wait_s(now_s)
        policy.start(0, now_s)
    return now_s - begun_s


@pytest.mark.parametrize(("late_s", "second_s"), [(0.0, 1.008), (0.004, 1.008), (0.02, 1.02)])
def test_a_process_that_sends_late_keeps_more_distance(late_s: float, second_s: float) -> None:
    """A start that goes out late comes nearer to the next one."""
    policy = LimiterPolicy(QuotaConfig(requests_per_minute=600, max_in_flight=100))
    policy.woken(late_s)
    assert full_second(policy) == pytest.approx(second_s, abs=1e-6)


def test_a_single_late_start_is_forgotten_and_bounded() -> None:
    policy = LimiterPolicy(QuotaConfig(requests_per_minute=600, max_in_flight=100))
    policy.woken(3.0)
    assert full_second(policy) == pytest.approx(1.025, abs=1e-6)
    for _ in range(100):
        policy.woken(0.001)
    assert full_second(policy) == pytest.approx(1.008, abs=1e-6)
