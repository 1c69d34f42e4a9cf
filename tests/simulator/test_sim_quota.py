"""Limits: what is refused, and when it is admitted again. Time is a number here, not a wait."""

import pytest

from omni_batch.simulator import Simulator, SimulatorOptions, reply
from omni_batch.simulator.checks.quota import Quota
from tests.simulator.sim_client import body, post, refusal

MODEL = "qwen3-omni-flash"


def _admitted(quota: Quota, times_s: list[float]) -> list[bool]:
    return [quota.request_fits(MODEL, 100.0 + time_s) for time_s in times_s]


def test_a_client_at_exactly_the_limit_is_never_refused() -> None:
    quota = Quota(60, None)
    assert all(_admitted(quota, [float(second) for second in range(600)]))


def test_two_at_once_are_let_through_and_a_third_is_not() -> None:
    assert _admitted(Quota(60, None), [0, 0, 0, 0.5, 1.0, 1.0]) == [
        *(True, True, False, False, True, False)
    ]


def test_more_than_a_minute_allows_is_refused() -> None:
    quota = Quota(60, None)
    admitted = _admitted(quota, [number / 10 for number in range(600)])
    assert 60 <= sum(admitted) <= 62


def test_a_refused_request_costs_nothing() -> None:
    quota = Quota(60, None)
    _admitted(quota, [0] * 50)
    assert _admitted(quota, [1.0]) == [True]


def test_models_have_quotas_of_their_own() -> None:
    quota = Quota(60, None)
    assert _admitted(quota, [0, 0, 0])[-1] is False
    assert quota.request_fits("qwen-omni-turbo", 100.0)


def test_tokens_are_refused_until_the_debt_is_earned_back() -> None:
    quota = Quota(None, 60_000)  # 1000 a second, 2000 at once
    assert quota.tokens_fit(MODEL, 100.0)
    quota.spend(MODEL, 5000, 100.0)
    assert [quota.tokens_fit(MODEL, 100.0 + after_s) for after_s in (0, 2.9, 3.1)] == [
        *(False, False, True)
    ]


@pytest.mark.parametrize("tokens", [100, 999])
def test_a_client_at_exactly_the_token_limit_is_never_refused(tokens: int) -> None:
    quota = Quota(None, tokens * 60)
    for second in range(300):
        assert quota.tokens_fit(MODEL, 100.0 + second)
        quota.spend(MODEL, tokens, 100.0 + second)


def test_too_many_requests_are_429_limit_requests() -> None:
    with Simulator(SimulatorOptions(requests_per_minute=0.001)) as sim:
        answers = [post(sim, body()) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        status, code, message = refusal(answers[-1])
        assert (status, code) == (429, "limit_requests")
        assert "You exceeded your current requests list" in message
        assert "retry-after" not in answers[-1].headers
        assert sim.counters.refused == {"limit_requests": 1}


def test_a_long_prompt_uses_up_tokens() -> None:
    with Simulator(SimulatorOptions(tokens_per_minute=60)) as sim:
        assert post(sim, body("word " * 100, max_tokens=1)).status_code == 200
        status, code, message = refusal(post(sim, body()))
        assert (status, code) == (429, "insufficient_quota")
        assert "Allocated quota exceeded" in message


def test_a_long_reply_uses_up_tokens() -> None:
    with Simulator(SimulatorOptions(tokens_per_minute=600)) as sim:  # 20 at once, 15 for the prompt
        sim.script(reply.text("word " * 400))
        assert [post(sim, body()).status_code for _ in range(2)] == [200, 429]


# --- Windows ---


@pytest.mark.parametrize(
    ("window", "burst", "times_s", "admitted"),
    [
        ("bucket", 1, [0, 0.99, 1.0, 2.5, 3.4], [True, False, True, True, False]),
        ("bucket", 3, [0, 0, 0, 0.5, 1.0], [True, True, True, False, True]),
        ("sliding-second", None, [0.9, 1.1, 1.89, 1.9, 2.95], [True, False, False, True, True]),
        ("whole-second", None, [0.9, 1.1, 1.9, 2.0], [True, True, False, True]),
        ("whole-minute", None, [19.0] * 60 + [19.5, 20.0], [True] * 60 + [False, True]),
        ("sliding-minute", None, [0] * 60 + [59.9, 60.0], [True] * 60 + [False, True]),
    ],
)
def test_each_window_counts_in_its_own_way(
    window: str, burst: float | None, times_s: list[float], admitted: list[bool]
) -> None:
    assert _admitted(Quota(60, None, window, burst), times_s) == admitted


def test_a_strict_second_holds_the_minute_as_well() -> None:
    quota = Quota(40, None, "sliding-second")  # one request has to fit into a second
    admitted = _admitted(quota, [float(second) for second in range(61)])
    assert admitted == [True] * 40 + [False] * 20 + [True]


@pytest.mark.parametrize("window", ["sliding-second", "whole-second"])
def test_a_request_beyond_a_second_s_tokens_is_let_in_and_its_second_is_used_up(
    window: str,
) -> None:
    quota = Quota(None, 60_000, window)
    assert quota.tokens_fit(MODEL, 100.5)
    quota.spend(MODEL, 4000, 100.5)
    assert not quota.tokens_fit(MODEL, 100.9)
    assert quota.wait_s("tokens", MODEL, 100.9) == pytest.approx(
        0.6 if window == "sliding-second" else 0.1
    )


def test_a_window_is_an_option_of_the_simulator() -> None:
    options = SimulatorOptions(requests_per_minute=60, window="bucket", burst=5)
    with Simulator(options) as sim:
        codes = [post(sim, body()).status_code for _ in range(6)]
    assert codes == [*[200] * 5, 429]
    with pytest.raises(ValueError, match="window"):
        SimulatorOptions(window="sliding-hour")
    with pytest.raises(ValueError, match="burst"):
        SimulatorOptions(window="whole-second", burst=5)
