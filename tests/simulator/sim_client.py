"""A client of a few lines, so that these tests rest on no code of ours."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx

from omni_batch.simulator import Simulator

T = TypeVar("T")
PATIENCE_S = 60.0
"""For what comes at once on an idle machine."""
CLIENT = httpx.Client(timeout=PATIENCE_S)
HEADERS = {"authorization": "Bearer sk-test"}
SPEECH: dict[str, Any] = {
    "modalities": ["text", "audio"],
    "audio": {"voice": "Cherry", "format": "wav"},
}


def body(content: Any = "hello there", **changes: Any) -> dict[str, Any]:
    """A good request; a change to None takes the key away."""
    whole = {
        "model": "qwen3-omni-flash",
        "messages": [{"role": "user", "content": content}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return {key: value for key, value in (whole | changes).items() if value is not None}


def post(sim: Simulator, request: Any, **options: Any) -> httpx.Response:
    options = {"headers": HEADERS, **options}
    return CLIENT.post(f"{sim.base_url}/chat/completions", json=request, **options)


def ask(sim: Simulator, content: Any = "hello there", **changes: Any) -> list[dict[str, Any]]:
    """The events of a good reply, without [DONE]."""
    response = post(sim, body(content, **changes))
    assert response.status_code == 200, response.text
    return events(response.text)


def until(condition: Callable[[], bool]) -> None:
    """Look again and again, for at most `PATIENCE_S`."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def within_a_second(work: Callable[[], T]) -> T:
    """Do it again until it took less than a second, since that is what the limits count in."""
    while True:
        begun_s = time.monotonic()
        done = work()
        if time.monotonic() - begun_s < 1:
            return done


def events(stream: str) -> list[dict[str, Any]]:
    lines = [line for line in stream.splitlines() if line and not line.startswith(":")]
    assert lines[-1] == "data: [DONE]", lines[-1:]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def deltas(chunks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for chunk in chunks:
        for choice in chunk["choices"]:
            yield choice["delta"]


def text(chunks: list[dict[str, Any]]) -> str:
    return "".join(delta.get("content") or "" for delta in deltas(chunks))


def pcm(chunks: list[dict[str, Any]]) -> bytes:
    sounds = [
        delta["audio"]["data"] for delta in deltas(chunks) if "data" in delta.get("audio", {})
    ]
    return b"".join(base64.b64decode(sound, validate=True) for sound in sounds)


def finish_reason(chunks: list[dict[str, Any]]) -> Any:
    reasons = [choice.get("finish_reason") for chunk in chunks for choice in chunk["choices"]]
    assert reasons[:-1] == [None] * (len(reasons) - 1)
    return reasons[-1]


def usage(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"] == []
    return dict(chunks[-1]["usage"])


def refusal(response: httpx.Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    return response.status_code, error["code"], error["message"]
