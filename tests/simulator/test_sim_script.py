"""Scripted replies, recorded requests and counters."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from omni_batch.simulator import Recorded, Simulator, SimulatorOptions, reply
from tests.simulator.sim_client import (
    HEADERS,
    SPEECH,
    ask,
    body,
    events,
    pcm,
    post,
    refusal,
    text,
    until,
)


@pytest.fixture
def fresh() -> Iterator[Simulator]:
    with Simulator(SimulatorOptions(keep_requests=3)) as simulator:
        yield simulator


def test_replies_come_in_order_and_then_normally_again(fresh: Simulator) -> None:
    fresh.script(reply.status(429, code="limit_requests", retry_after_s=0), reply.text("hello"))
    refused = post(fresh, body())
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "0")
    assert text(ask(fresh)) == "hello"
    assert text(ask(fresh)) == 'You wrote: "hello there"'


def test_a_scripted_text_is_spoken_too(fresh: Simulator) -> None:
    fresh.script(reply.text("hello"))
    chunks = ask(fresh, **SPEECH)
    assert text(chunks) == "hello"
    assert len(pcm(chunks)) == 5 * 3840


def test_a_scripted_text_does_not_hide_a_bad_request(fresh: Simulator) -> None:
    fresh.script(reply.text("hello"))
    assert post(fresh, body(temperature=9)).status_code == 400


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (429, None, "limit_requests"),
        (429, "insufficient_quota", "insufficient_quota"),
        (500, None, "internal_error"),
        (503, None, "ModelServingError"),
        (401, None, "invalid_api_key"),
        (400, "Arrearage", "Arrearage"),
        (403, None, "access_denied"),
        (418, None, "invalid_parameter_error"),
        (400, "Strange", "Strange"),
    ],
)
def test_a_status_has_its_usual_code_and_words(
    fresh: Simulator, status: int, code: str | None, expected: str
) -> None:
    fresh.script(reply.status(status, code=code))
    got, name, message = refusal(post(fresh, body()))
    assert (got, name) == (status, expected)
    assert message


def test_message_and_body_can_be_given(fresh: Simulator) -> None:
    fresh.script(reply.status(400, message="No."), reply.status(504, body=b"<html>"))
    assert refusal(post(fresh, body()))[2] == "No."
    page = post(fresh, body())
    assert (page.status_code, page.content) == (504, b"<html>")


def test_raw_frames_are_sent_as_they_are(fresh: Simulator) -> None:
    fresh.script(reply.frames([b"data: {", b'"a":1}\n\n', b"\xff"]))
    response = post(fresh, body())
    assert response.content == b'data: {"a":1}\n\n\xff'
    assert response.headers["content-type"].startswith("text/event-stream")


def test_raw_frames_can_end_badly(fresh: Simulator) -> None:
    fresh.script(reply.frames([b"x"], end="cut"), reply.frames([b"x"], end="stall"))
    with pytest.raises(httpx.RemoteProtocolError):
        post(fresh, body())
    with pytest.raises(httpx.ReadTimeout):
        post(fresh, body(), timeout=0.1)


def test_normal_keeps_a_place(fresh: Simulator) -> None:
    fresh.script(reply.normal(), reply.text("second"))
    assert [text(ask(fresh)) for _ in range(2)] == ['You wrote: "hello there"', "second"]


def test_mistakes_in_a_script_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'stall_first'"):
        reply.fault("stal_first")
    with pytest.raises(ValueError, match="did you mean 'close'"):
        reply.frames([], end="closed")  # type: ignore[arg-type]


def test_requests_are_recorded_as_they_came(fresh: Simulator) -> None:
    before = time.monotonic()
    ask(fresh, "first")
    recorded = fresh.requests[0]
    assert isinstance(recorded, Recorded)
    assert recorded.path == "/compatible-mode/v1/chat/completions"
    assert recorded.headers["authorization"] == HEADERS["authorization"]
    assert recorded.body == body("first")
    assert before <= recorded.arrived_at_s <= time.monotonic()


def test_only_the_latest_requests_are_kept(fresh: Simulator) -> None:
    for number in range(5):
        ask(fresh, f"prompt {number}")
    kept = [str(request.body["messages"]) for request in fresh.requests]
    assert [f"prompt {n}" in kept[n - 2] for n in (2, 3, 4)] == [True] * 3
    assert len(kept) == 3


def test_none_is_kept_when_none_is_wanted() -> None:
    with Simulator(SimulatorOptions(keep_requests=0)) as sim:
        ask(sim)
        assert (sim.requests, sim.counters.requests) == ([], 1)


def test_outcomes_are_counted(fresh: Simulator) -> None:
    fresh.script(
        reply.status(429),
        reply.fault("error_500"),
        reply.frames([b"data: [DONE]\n\n"]),
        reply.fault("cut_clean"),
    )
    for _ in range(5):
        post(fresh, body())
    post(fresh, body(temperature=9))
    counters = fresh.counters
    assert (counters.requests, counters.succeeded, counters.scripted) == (6, 1, 1)
    assert counters.refused == {"limit_requests": 1, "invalid_parameter_error": 1}
    assert counters.faults == {"error_500": 1, "cut_clean": 1}


def test_flight_is_counted_and_a_client_that_hangs_up_is_noticed() -> None:
    options = SimulatorOptions(first_chunk_s=1)
    with Simulator(options) as sim, ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: post(sim, body()), range(4)))
        assert [len(events(reply.text)) for reply in replies] == [6] * 4
        assert sim.counters.peak_in_flight == 4
        with pytest.raises(httpx.ReadTimeout):
            post(sim, body(), timeout=0.02)
        until(lambda: sim.counters.abandoned == 1)
        assert (sim.counters.succeeded, sim.counters.in_flight) == (4, 0)
