"""Batch Chat, and the page of quotas."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest

from omni_batch.simulator import Simulator, SimulatorOptions, reply
from tests.simulator import sim_media as media
from tests.simulator.sim_client import (
    CLIENT,
    HEADERS,
    PATIENCE_S,
    SPEECH,
    ask,
    body,
    post,
    refusal,
    text,
    until,
    usage,
)

PLUS = "qwen3.5-omni-plus"
IMAGE = media.image("https://example.com/640x480.png")


@pytest.fixture
def fresh() -> Iterator[Simulator]:
    with Simulator(SimulatorOptions(requests_per_minute=0.001)) as simulator:
        yield simulator


def queue(sim: Simulator, content: Any = "hello there", **changes: Any) -> httpx.Response:
    request = body(content, **{"model": PLUS, "stream": None, "stream_options": None, **changes})
    return CLIENT.post(f"{sim.batch_base_url}/chat/completions", json=request, headers=HEADERS)


def test_one_simulator_serves_both(sim: Simulator) -> None:
    whole = queue(sim, [IMAGE]).json()
    streamed = ask(sim, [IMAGE], model=PLUS)
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["choices"][0]["message"]["content"] == text(streamed)
    assert whole["usage"] == usage(streamed)


def test_plain_models_are_queued_too(sim: Simulator) -> None:
    assert queue(sim, model="qwen-plus").status_code == 200


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"model": "qwen3-omni-flash"}, 404),
        ({"model": "qwen3.5-omni-flash"}, 404),
        ({"stream": True}, 400),
        ({**SPEECH, "audio": {"voice": "Tina", "format": "wav"}}, 400),
        ({"temperature": 9}, 400),
    ],
)
def test_what_can_not_be_queued(sim: Simulator, changes: Any, status: int) -> None:
    assert queue(sim, **changes).status_code == status


def test_a_key_is_needed(sim: Simulator) -> None:
    url = f"{sim.batch_base_url}/chat/completions"
    assert CLIENT.post(url, json=body(model=PLUS)).status_code == 401


def test_limits_a_minute_do_not_hold(fresh: Simulator) -> None:
    assert [queue(fresh).status_code for _ in range(4)] == [200] * 4
    assert [post(fresh, body()).status_code for _ in range(3)] == [200, 200, 429]


def test_requests_wait(fresh: Simulator) -> None:
    fresh.change(batch_wait_s=0.1)
    answer = queue(fresh)
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() >= 0.1


def test_only_so_many_requests_wait() -> None:
    options = SimulatorOptions(batch_wait_s=2 * PATIENCE_S, batch_most_waiting=2)
    with ThreadPoolExecutor(2) as pool:
        with Simulator(options) as sim:
            waiting = [pool.submit(queue, sim) for _ in range(2)]
            until(lambda: sim.counters.in_flight == 2)
            status, code, message = refusal(queue(sim))
        assert (status, code) == (429, "Throttling")
        assert "Batch requests are being throttled" in message
        assert all(isinstance(future.exception(), httpx.TransportError) for future in waiting)


def test_who_hangs_up_waits_no_longer(fresh: Simulator) -> None:
    fresh.change(batch_wait_s=60.0, batch_most_waiting=1)
    url, request = f"{fresh.batch_base_url}/chat/completions", body(model="qwen-plus", stream=None)
    for _ in range(2):
        before = fresh.counters.abandoned
        with pytest.raises(httpx.ReadTimeout):
            CLIENT.post(url, json=request, headers=HEADERS, timeout=0.03)
        until(partial(_has_left, fresh, before))
    assert (fresh.counters.abandoned, fresh.counters.in_flight) == (2, 0)


def _has_left(sim: Simulator, abandoned_before: int) -> bool:
    return sim.counters.abandoned > abandoned_before


def test_scripts_and_counters_are_the_same(fresh: Simulator) -> None:
    fresh.script(reply.text("cheaper"), reply.fault("cut"))
    assert queue(fresh).json()["choices"][0]["message"]["content"] == "cheaper"
    assert queue(fresh).status_code == 500
    assert fresh.requests[0].path == "/batch/compatible-mode/v1/chat/completions"


def test_other_dialects_have_no_batch_chat() -> None:
    with (
        Simulator(SimulatorOptions(dialect="vllm")) as other,
        pytest.raises(RuntimeError, match="vllm has no Batch Chat"),
    ):
        queue(other)


# --- quotas ---


def quotas(sim: Simulator, **query: Any) -> httpx.Response:
    url = sim.base_url.split("/compatible")[0] + "/api/v1/quotas"
    return CLIENT.get(url, params=query, headers=HEADERS)


def test_the_quota_of_a_model(sim: Simulator) -> None:
    output = quotas(sim, model=PLUS).json()["output"]
    assert (output["total"], output["page_no"], output["page_size"]) == (1, 1, 20)
    assert output["quotas"][0]["model"] == PLUS
    assert output["quotas"][0]["workspace_limit"] is None
    assert output["quotas"][0]["model_limit"] == {
        "request_limit": 60,
        "request_limit_period": 60,
        "usage_limit": 100_000,
        "usage_limit_field": "total_tokens",
        "usage_limit_period": 60,
    }


def test_the_quota_is_the_one_that_holds(fresh: Simulator) -> None:
    fresh.change(requests_per_minute=90.0, tokens_per_minute=5000.0)
    limit = quotas(fresh, model=PLUS).json()["output"]["quotas"][0]["model_limit"]
    assert (limit["request_limit"], limit["usage_limit"]) == (90, 5000)


def test_quotas_come_in_pages(sim: Simulator) -> None:
    first = quotas(sim, name="omni", page_size=3).json()["output"]
    second = quotas(sim, name="omni", page_size=3, page_no=2).json()["output"]
    names = [quota["model"] for page in (first, second) for quota in page["quotas"]]
    assert len(set(names)) == 6
    assert all("omni" in name for name in names)
    assert first["total"] > 6
    assert quotas(sim, model="nobody").json()["output"]["quotas"] == []
    assert quotas(sim, page_no=0).status_code == 400


def test_quotas_need_a_key(sim: Simulator) -> None:
    url = sim.base_url.split("/compatible")[0] + "/api/v1/quotas"
    refused = CLIENT.get(url)
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_api_key")
