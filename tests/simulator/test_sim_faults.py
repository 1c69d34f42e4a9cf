"""Each fault as a client sees it."""

import contextlib
import json
from typing import Any

import httpx
import pytest

from omni_batch.simulator import FAULTS, Simulator, SimulatorOptions, reply
from tests.simulator.sim_client import (
    CLIENT,
    HEADERS,
    PATIENCE_S,
    SPEECH,
    body,
    events,
    finish_reason,
    post,
    refusal,
    text,
    until,
)

PROMPT = "one two three four five six seven eight nine ten"


def fails(sim: Simulator, kind: str, **changes: Any) -> tuple[bytes, Exception | None]:
    """What arrived before the end, and how httpx complained."""
    sim.script(reply.fault(kind))
    received = b""
    url, request = f"{sim.base_url}/chat/completions", body(PROMPT, **changes)
    try:
        with CLIENT.stream("POST", url, json=request, headers=HEADERS, timeout=2) as response:
            assert response.status_code == 200
            for piece in response.iter_raw():
                received += piece
    except httpx.TransportError as error:
        return received, error
    return received, None


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("error_500", 500, "internal_error"),
        ("error_503", 503, "ModelServingError"),
        ("rate_limit", 429, "limit_requests"),
        ("burst", 429, "limit_burst_rate"),
        ("quota", 429, "insufficient_quota"),
    ],
)
def test_faults_with_a_body_of_the_service(
    sim: Simulator, kind: str, status: int, code: str
) -> None:
    sim.script(reply.fault(kind))
    assert refusal(post(sim, body()))[:2] == (status, code)


def test_faults_of_a_gateway(sim: Simulator) -> None:
    sim.script(reply.fault("html_502"), reply.fault("empty_429"))
    page, empty = post(sim, body()), post(sim, body())
    assert (page.status_code, page.headers["content-type"]) == (502, "text/html")
    assert page.text.startswith("<html>")
    assert (empty.status_code, empty.content) == (429, b"")


def test_a_reset_comes_before_any_header(sim: Simulator) -> None:
    received, error = fails(sim, "reset")
    assert received == b""
    assert isinstance(error, httpx.ReadError)
    assert "reset" in str(error)


def test_a_first_byte_may_never_come(sim: Simulator) -> None:
    received, error = fails(sim, "stall_first")
    assert received == b""
    assert isinstance(error, httpx.ReadTimeout)


def test_a_stream_may_stall(sim: Simulator) -> None:
    received, error = fails(sim, "stall")
    assert b'"content":"You"' in received
    assert isinstance(error, httpx.ReadTimeout)


def test_a_stream_may_be_cut_off(sim: Simulator) -> None:
    received, error = fails(sim, "cut")
    assert b'"content":"You"' in received
    assert isinstance(error, httpx.RemoteProtocolError)
    assert "incomplete chunked read" in str(error)


@pytest.mark.parametrize("changes", [{}, SPEECH, {"max_tokens": 1}])
def test_a_stream_may_end_properly_without_a_finish(sim: Simulator, changes: Any) -> None:
    received, error = fails(sim, "cut_clean", **changes)
    assert error is None
    assert received.endswith(b"\n\n")
    assert b'"content":"You"' in received
    assert b'finish_reason":"' not in received
    assert b"[DONE]" not in received


def test_a_stream_may_end_inside_a_line(sim: Simulator) -> None:
    received, error = fails(sim, "cut_line")
    assert error is None
    with pytest.raises(json.JSONDecodeError):
        json.loads(received.decode().split("data: ")[-1])


def test_a_stream_may_end_inside_a_character(sim: Simulator) -> None:
    sim.script(reply.fault("cut_line"))
    response = post(sim, body("caf\u00e9 \u4f60\u597d"))
    with pytest.raises(UnicodeDecodeError, match="unexpected end of data"):
        response.content.decode()


def test_an_error_may_come_after_some_deltas(sim: Simulator) -> None:
    received, _ = fails(sim, "in_band_error")
    chunks = events(received.decode())
    assert chunks[1]["choices"][0]["delta"]["content"] == "You"
    assert chunks[-1]["error"]["code"] == "internal_error"
    assert all(choice["finish_reason"] is None for c in chunks[:-1] for choice in c["choices"])


def test_a_stream_may_say_nothing(sim: Simulator) -> None:
    assert fails(sim, "empty") == (b"", None)
    assert fails(sim, "done_only") == (b"data: [DONE]\n\n", None)


def test_a_partial_response_is_marked_in_its_headers_only(sim: Simulator) -> None:
    whole = text(events(post(sim, body(PROMPT)).text))
    sim.script(reply.fault("partial_response"))
    response = post(sim, body(PROMPT))
    assert response.headers["x-dashscope-partialresponse"] == "true"
    chunks = events(response.text)
    assert finish_reason(chunks) == "stop"
    assert text(chunks) == whole[: len(whole) // 2]


def test_a_plain_answer_meets_stream_faults_as_500(sim: Simulator) -> None:
    sim.script(reply.fault("cut"))
    request = body(model="qwen-plus", stream=None, stream_options=None)
    assert post(sim, request).status_code == 500


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_of_probability_one_strikes_every_time(kind: str) -> None:
    patience = httpx.Timeout(PATIENCE_S, read=0.1)  # some faults never answer
    with Simulator(SimulatorOptions(faults={kind: 1.0})) as sim:
        for _ in range(3):  # one may meet a connection that is being closed
            try:
                post(sim, body(), timeout=patience)
            except httpx.RequestError:
                continue
        until(lambda: sim.counters.faults.get(kind, 0) >= 2)
        assert sim.counters.faults.keys() == {kind}


def _struck(seed: int) -> list[int]:
    faults = {"error_500": 0.3, "rate_limit": 0.2}
    with Simulator(SimulatorOptions(seed=seed, faults=faults)) as sim:
        url = f"{sim.base_url}/chat/completions"
        return [CLIENT.post(url, json=body(), headers=HEADERS).status_code for _ in range(100)]


def test_faults_are_drawn_from_the_seed() -> None:
    first = _struck(1)
    assert first == _struck(1) != _struck(2)
    assert 15 <= first.count(500) <= 45
    assert 8 <= first.count(429) <= 35
    assert first.count(200) > 30


def test_a_burst_is_held_for_those_who_wait() -> None:
    with Simulator(SimulatorOptions(faults={"burst": 1.0})) as sim:
        patient = {**HEADERS, "X-DashScope-Wait-Timeout": "10"}
        assert post(sim, body(), headers=patient).status_code == 200
        assert post(sim, body()).status_code == 429


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"faults": {"rate_limits": 0.1}}, "did you mean 'rate_limit'"),
        ({"faults": {"cut": 1.5}}, "give 0 to 1"),
        ({"faults": {"cut": 0.6, "stall": 0.6}}, "above 1"),
        ({"framing": "tinny"}, "did you mean 'tiny'"),
        ({"edition": 2026}, "unknown edition 2026; did you mean '20"),
        ({"audio_chunk_bytes": 0}, "audio_chunk_bytes is 0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SimulatorOptions(**options)


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_every_fault_may_strike_a_stream_with_shuffled_keys(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = SimulatorOptions(shuffle_keys=True, faults={kind: 1.0})
    body = {
        "model": "qwen3-omni-flash",
        "messages": [{"role": "user", "content": "Say hello."}],
        "stream": True,
    }
    with Simulator(options) as simulator:
        url, key = f"{simulator.base_url}/chat/completions", {"Authorization": "Bearer sk-x"}
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(url, json=body, headers=key, timeout=0.2)
    assert "Exception in ASGI application" not in caplog.text
