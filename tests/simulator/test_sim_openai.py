"""The official SDK, which we did not write, must find the simulator to its liking."""

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from omni_batch.simulator import DIALECTS, Simulator, SimulatorOptions, reply
from tests.simulator import sim_media as media

if TYPE_CHECKING:  # it takes a second, which only this file's worker spends
    import openai


@pytest.fixture(scope="module")
def client(sim: Simulator) -> Iterator["openai.OpenAI"]:
    with client_of(sim) as client:
        yield client


def client_of(sim: Simulator) -> "openai.OpenAI":
    import openai

    return openai.OpenAI(api_key="sk-test", base_url=sim.base_url, max_retries=0)


def stream(client: "openai.OpenAI", content: Any, **changes: Any) -> list[Any]:
    request = {
        "model": "qwen3-omni-flash",
        "messages": [{"role": "user", "content": content}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return list(client.chat.completions.create(**{**request, **changes}))


def said(chunks: list[Any]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


PARTS = [
    (media.image(media.uri(media.jpeg(64, 48), "image/jpeg")), "An image of 64 x 48 pixels"),
    (media.image("https://example.com/64x48.png"), "An image of 64 x 48 pixels"),
    (media.audio(media.uri(media.wav(2))), "A recording of 2.0 seconds"),
    (media.audio("https://example.com/2s.wav"), "A recording of 2.0 seconds"),
    (media.video(media.uri(media.mp4(2))), "A video of 2.0 seconds"),
    (media.video("https://example.com/2s.mp4"), "A video of 2.0 seconds"),
    (media.frames([media.uri(media.jpeg(64, 48))] * 2), "A sequence of 2 frames"),
    (media.frames(["https://example.com/64x48.jpg"] * 2), "A sequence of 2 frames"),
]


@pytest.mark.parametrize(("part", "expected"), PARTS)
def test_every_kind_of_input(client: "openai.OpenAI", part: Any, expected: str) -> None:
    chunks = stream(client, [part, {"type": "text", "text": "What is it?"}])
    assert said(chunks).startswith(expected)
    assert chunks[-1].usage.total_tokens > 20


def test_speech(client: "openai.OpenAI") -> None:
    chunks = stream(
        client, "hello", modalities=["text", "audio"], audio={"voice": "Cherry", "format": "wav"}
    )
    deltas = [choice.delta.model_dump() for chunk in chunks for choice in chunk.choices]
    sounds = [delta["audio"]["data"] for delta in deltas if delta.get("audio")]
    seconds = sum(len(base64.b64decode(sound)) for sound in sounds) / 48_000
    tokens = chunks[-1].usage.completion_tokens_details.audio_tokens
    assert seconds == pytest.approx(tokens / 12.5)


def test_thinking(client: "openai.OpenAI") -> None:
    chunks = stream(client, "hello", extra_body={"enable_thinking": True})
    deltas = [choice.delta.model_dump() for chunk in chunks for choice in chunk.choices]
    thought = "".join(delta.get("reasoning_content") or "" for delta in deltas)
    assert thought.startswith("The user sent 1 word.")
    assert chunks[-1].usage.completion_tokens_details.reasoning_tokens > 0


def test_no_stream(client: "openai.OpenAI") -> None:
    messages: Any = [{"role": "user", "content": "hello"}]
    whole = client.chat.completions.create(model="qwen3.5-plus", messages=messages)
    assert whole.choices[0].message.content == 'You wrote: "hello"'


def test_models(client: "openai.OpenAI") -> None:
    assert "qwen3-omni-flash" in [model.id for model in client.models.list()]


@pytest.mark.parametrize(
    ("scripted", "error"),
    [
        (reply.status(401), "AuthenticationError"),
        (reply.status(429), "RateLimitError"),
        (reply.status(400), "BadRequestError"),
        (reply.status(503), "InternalServerError"),
        (reply.fault("reset"), "APIConnectionError"),
        (reply.fault("in_band_error"), "APIError"),
    ],
)
def test_errors_are_those_the_sdk_knows(
    sim: Simulator, client: "openai.OpenAI", scripted: Any, error: str
) -> None:
    import openai

    sim.script(scripted)
    with pytest.raises(getattr(openai, error)):
        stream(client, "hello")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_can_be_read(dialect: str) -> None:
    import openai

    options = SimulatorOptions(dialect=dialect)
    with Simulator(options) as sim, client_of(sim) as client:
        chunks = stream(client, "hello", modalities=["text"])
        with pytest.raises(openai.BadRequestError):
            stream(client, "hello", temperature=-1)
    assert said(chunks) == 'You wrote: "hello"'
    assert [chunk for chunk in chunks if chunk.usage][-1].usage.total_tokens > 10
