"""The rule of growth, waiting instead of being refused, and Retry-After."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import pytest

from omni_batch.simulator import Counters, Simulator, SimulatorOptions, reply
from omni_batch.simulator.checks.quota import BurstLimit, Quota
from tests.simulator.sim_client import HEADERS, body, post, refusal, until, within_a_second

MODEL = "qwen3-omni-flash"
GROWS_BY_1 = SimulatorOptions(burst_growth_per_s=1)
PATIENT = {**HEADERS, "X-DashScope-Wait-Timeout": "30"}


def admitted(growth: BurstLimit, times_s: list[float]) -> list[bool]:
    return [growth.fits(MODEL, 100.0 + time_s) for time_s in times_s]


def per_second(growth: BurstLimit, wanted: list[int]) -> list[int]:
    """How many get in when so many come in each second, evenly."""
    return [
        sum(admitted(growth, [second + number / count for number in range(count)]))
        for second, count in enumerate(wanted)
    ]


def test_the_first_second_takes_no_more_than_the_growth() -> None:
    assert admitted(BurstLimit(3), [0, 0, 0, 0, 0.5]) == [True, True, True, False, False]


def test_a_client_that_ramps_up_slowly_is_never_refused() -> None:
    ramp = [2, 4, 6, 8, 10, 10, 10]
    assert per_second(BurstLimit(3), ramp) == ramp


def test_a_client_that_jumps_is_slowed_down() -> None:
    came_in = per_second(BurstLimit(3), [50, 50, 50])
    assert came_in[0] == 3
    assert came_in[0] < came_in[1] < came_in[2] < 20


def test_after_a_pause_growth_begins_anew() -> None:
    growth = BurstLimit(3)
    per_second(growth, [3, 6, 9])
    assert admitted(growth, [20.0] * 5) == [True, True, True, False, False]


def test_models_grow_apart_and_without_a_limit_all_come_in() -> None:
    growth = BurstLimit(1)
    assert growth.fits(MODEL, 0.0)
    assert growth.fits("qwen-omni-turbo", 0.0)
    assert all(admitted(BurstLimit(None), [0.0] * 100))


def test_a_burst_is_429_limit_burst_rate() -> None:
    def three() -> list[httpx.Response]:
        with Simulator(SimulatorOptions(burst_growth_per_s=2)) as sim:
            return [post(sim, body()) for _ in range(3)]

    answers = within_a_second(three)
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    status, code, message = refusal(answers[-1])
    assert (status, code) == (429, "limit_burst_rate")
    assert message.startswith("Request rate increased too quickly.")


def test_a_patient_request_is_held_and_then_answered() -> None:
    def attempt() -> tuple[int, bool, int]:
        with Simulator(GROWS_BY_1) as sim, ThreadPoolExecutor(1) as pool:
            post(sim, body())
            held = pool.submit(post, sim, body(), headers=PATIENT)
            until(lambda: sim.counters.in_flight == 1 or held.done())
            impatient = post(sim, body()).status_code
            is_held = not held.done()
            sim.change(burst_growth_per_s=None)
            return impatient, is_held, held.result().status_code

    assert within_a_second(attempt) == (429, True, 200)


def test_a_client_that_hangs_up_is_not_held() -> None:
    def attempt() -> Counters:
        with Simulator(GROWS_BY_1) as sim:
            post(sim, body())
            with suppress(httpx.ReadTimeout):
                post(sim, body(), headers=PATIENT, timeout=0.03)
            until(lambda: sim.counters.in_flight == 0 and sim.counters.requests == 2)
            return sim.counters

    counters = within_a_second(attempt)
    assert (counters.succeeded, counters.abandoned) == (1, 1)


@pytest.mark.parametrize("patience", ["0.02", "0", "soon"])
def test_patience_ends(patience: str) -> None:
    headers = {**HEADERS, "X-DashScope-Wait-Timeout": patience}

    def attempt() -> list[int]:
        with Simulator(GROWS_BY_1) as sim:
            return [post(sim, body(), headers=headers).status_code for _ in range(2)]

    assert within_a_second(attempt) == [200, 429]


def test_patience_helps_against_no_other_limit() -> None:
    with Simulator(SimulatorOptions(requests_per_minute=0.001)) as sim:
        codes = [post(sim, body(), headers=PATIENT).status_code for _ in range(3)]
    assert codes == [200, 200, 429]


# --- Retry-After ---


def test_a_quota_knows_how_long_to_wait() -> None:
    quota = Quota(60, 6000)
    for _ in range(2):
        quota.request_fits(MODEL, 100.0)
    quota.spend(MODEL, 700, 100.0)
    assert quota.wait_s("requests", MODEL, 100.0) == pytest.approx(1)
    assert quota.wait_s("requests", MODEL, 100.4) == pytest.approx(0.6)
    assert quota.wait_s("tokens", MODEL, 100.0) == pytest.approx(5.01)
    assert Quota(None, None).wait_s("requests", MODEL, 100.0) == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"requests_per_minute": 6.0}, "10"),
        ({"burst_growth_per_s": 2.0}, "1"),
    ],
)
def test_retry_after_is_sent_when_it_is_wanted(options: Any, told: str) -> None:
    def three() -> list[httpx.Response]:
        with Simulator(SimulatorOptions(send_retry_after=True, **options)) as sim:
            return [post(sim, body()) for _ in range(3)]

    answers = within_a_second(three)
    assert answers[-1].headers["retry-after"] == told
    assert "retry-after" not in answers[0].headers


def test_faults_and_scripts_tell_it_too() -> None:
    with Simulator(SimulatorOptions(send_retry_after=True)) as sim:
        sim.script(reply.fault("quota"), reply.status(429, retry_after_s=7), reply.status(503))
        told = [post(sim, body()).headers.get("retry-after") for _ in range(3)]
    assert told == ["1", "7", None]
