"""Scripting from another process, and options that change at run time."""

import base64
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from omni_batch.simulator import Simulator, SimulatorOptions
from omni_batch.simulator.app import App
from omni_batch.simulator.control import is_local
from tests.simulator.sim_client import CLIENT, ask, body, post, refusal, text


@pytest.fixture
def fresh() -> Iterator[Simulator]:
    with Simulator(SimulatorOptions(scriptable=True)) as simulator:
        yield simulator


def control(sim: Simulator, method: str, what: str, told: Any = None) -> httpx.Response:
    url = sim.base_url.split("/compatible")[0]
    return CLIENT.request(method, f"{url}/simulator/{what}", json=told)


def test_replies_are_scripted_in_order(fresh: Simulator) -> None:
    frames = [base64.b64encode(b"data: {").decode(), base64.b64encode(b"}\n\n").decode()]
    script = [
        {"status": 429, "code": "limit_burst_rate", "retry_after_s": 2},
        {"status": 502, "body": base64.b64encode(b"<html>").decode()},
        {"text": "hello"},
        {},
        {"fault": "cut"},
        {"frames": frames},
        {"frames": frames, "end": "cut"},
    ]
    assert control(fresh, "POST", "script", script).json() == {"waiting": 7}
    burst, page = post(fresh, body()), post(fresh, body())
    assert (refusal(burst)[1], burst.headers["retry-after"]) == ("limit_burst_rate", "2")
    assert (page.status_code, page.content) == (502, b"<html>")
    assert [text(ask(fresh)) for _ in range(2)] == ["hello", 'You wrote: "hello there"']
    with pytest.raises(httpx.RemoteProtocolError):
        post(fresh, body())
    assert post(fresh, body()).content == b"data: {}\n\n"
    with pytest.raises(httpx.RemoteProtocolError):
        post(fresh, body())


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ([{"fault": "cutt"}], "did you mean 'cut'"),
        ([{"text": "x"}, {"status": "429"}], "Expected `int`"),
        ([{"text": "x", "fault": "cut"}], "one of"),
        ([{"nothing": 1}], "one of"),
        ([{"text": "x", "end": "cut"}], "unknown field"),
        ([{"frames": ["?"]}], "base64"),
        ([{"frames": [], "end": "closed"}], "Invalid enum value"),
        ({"text": "x"}, "Expected `array`"),
    ],
)
def test_a_bad_script_is_refused_whole(fresh: Simulator, script: Any, said: str) -> None:
    refused = control(fresh, "POST", "script", script)
    assert refused.status_code == 400
    assert said in refused.json()["error"]
    assert text(ask(fresh)) == 'You wrote: "hello there"'


def test_a_script_can_be_taken_back(fresh: Simulator) -> None:
    control(fresh, "POST", "script", [{"text": "hello"}])
    assert control(fresh, "DELETE", "script").json() == {"waiting": 0}
    assert text(ask(fresh)) == 'You wrote: "hello there"'


def test_counters_can_be_read(fresh: Simulator) -> None:
    post(fresh, body(temperature=9))
    ask(fresh)
    counters = control(fresh, "GET", "counters").json()
    assert (counters["requests"], counters["succeeded"]) == (2, 1)
    assert counters["refused"] == {"invalid_parameter_error": 1}


def test_options_change_for_what_comes_next(fresh: Simulator) -> None:
    assert control(fresh, "POST", "options", {"faults": {"error_503": 1}}).status_code == 200
    assert post(fresh, body()).status_code == 503
    control(fresh, "POST", "options", {"faults": {}, "framing": "crlf"})
    assert b"\r\n\r\n" in post(fresh, body()).content
    control(fresh, "POST", "options", {"requests_per_minute": 0.001, "first_chunk_s": 0.02})
    answers = [post(fresh, body()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].elapsed.total_seconds() >= 0.02
    control(fresh, "POST", "options", {"requests_per_minute": None})
    assert post(fresh, body()).status_code == 200
    assert control(fresh, "GET", "options").json()["framing"] == "crlf"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"framing": "tinny"}, "did you mean 'tiny'"),
        ({"fault": {}}, "did you mean 'faults'"),
        ({"first_chunk_s": "1"}, "Expected `float`"),
        ({"first_chunk_s": -1}, "first_chunk_s is -1"),
        ({"port": 1}, "port can't change while the simulator runs"),
        ([], "Expected `object`"),
    ],
)
def test_bad_options_change_nothing(fresh: Simulator, changes: Any, said: str) -> None:
    before = fresh.options
    refused = control(fresh, "POST", "options", changes)
    assert (refused.status_code, said in refused.json()["error"]) == (400, True), refused.text
    assert fresh.options == before


def test_options_can_be_changed_in_the_same_process(fresh: Simulator) -> None:
    fresh.change(faults=MappingProxyType({"error_500": 1.0}))
    fresh.change(first_chunk_s=0.0)
    assert post(fresh, body()).status_code == 500
    with pytest.raises(ValueError, match="did you mean 'framing'"):
        fresh.change(frame="tiny")


def test_nobody_scripts_what_is_not_scriptable(sim: Simulator) -> None:
    assert control(sim, "POST", "script", [{"text": "x"}]).status_code == 404
    assert control(sim, "GET", "counters").status_code == 404


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.7", False),
        ("", False),
    ],
)
def test_only_clients_on_the_same_machine_may(host: str, local: bool) -> None:
    assert is_local(host) == local


async def test_strangers_are_refused() -> None:
    app, sent = App(SimulatorOptions(scriptable=True)), list[Any]()
    scope = {
        **{"type": "http", "method": "POST", "path": "/simulator/script", "headers": []},
        **{"client": ("10.0.0.7", 1), "state": {"transport": None}},
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": b'[{"text": "x"}]'}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert (sent[0]["status"], len(app.service.script)) == (403, 0)


def test_other_paths_are_refused(fresh: Simulator) -> None:
    refused = control(fresh, "GET", "nothing")
    assert (refused.status_code, "nothing" in refused.json()["error"]) == (400, True)
