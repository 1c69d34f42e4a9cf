"""vLLM, and vLLM-Omni, which speaks."""

import base64
from typing import Any

import pytest

from omni_batch.simulator import reply
from tests.simulator import sim_media as media
from tests.simulator.sim_client import SPEECH, ask, body, deltas, events, finish_reason, post, text
from tests.simulator.sim_dialects import IMAGE, RAW_AUDIO, SAID, Start, rate_hz, whole

# --- vllm ---


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (IMAGE, "An image of 64 x 48"),
        (RAW_AUDIO, "A recording of 2.0"),
        ({"type": "audio_url", "audio_url": {"url": media.uri(media.wav(2))}}, "A recording"),
        ({"type": "audio_url", "audio_url": {"url": "https://a.example/3s.mp3"}}, "of 3.0 seconds"),
        (media.video(media.uri(media.mp4(1))), "A video of 1.0 seconds"),
    ],
)
def test_vllm_takes_urls_and_raw_base64(start: Start, part: Any, said: str) -> None:
    assert said in text(ask(start("vllm"), [part]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([media.audio(media.uri(media.wav(1)))], "Incorrect padding"),
        ([media.frames([media.uri(media.jpeg(64, 48))] * 2)], "Unknown part type: video"),
        ([IMAGE, IMAGE], "At most 1 image(s) may be provided"),
        ([media.image("oss://a/b.png")], "The URL must be either a HTTP, data or file URL."),
        ("word " * 60_000, "maximum context length is 65536 tokens"),
        ([media.image(media.uri(b"no image"))], "Failed to decode the image"),
    ],
)
def test_vllm_refuses_in_its_own_shape(start: Start, content: Any, said: str) -> None:
    response = post(start("vllm"), body(content))
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["type"]) == (400, 400, "BadRequestError")
    assert said in error["message"]
    assert not error["message"].startswith("<400>")


def test_vllm_takes_more_media_if_it_is_told_to(start: Start) -> None:
    assert ask(start("vllm", media_per_kind=2), [IMAGE, IMAGE, RAW_AUDIO])


def test_older_vllm_errors_are_flat(start: Start) -> None:
    refused = post(start("vllm", flat_errors=True), body(temperature=-1)).json()
    assert (refused["object"], refused["code"]) == ("error", 400)
    assert refused["message"] == "temperature must be non-negative, got -1."


def test_vllm_ignores_that_speech_is_asked_for(start: Start) -> None:
    chunks = ask(start("vllm"), enable_thinking=True, unknown=1, **SPEECH)
    assert text(chunks) == SAID
    assert not any({"audio", "reasoning_content"} & set(delta) for delta in deltas(chunks))


def test_vllm_tells_usage_without_kinds_and_only_when_asked(start: Start) -> None:
    chunks = ask(start("vllm"), [IMAGE])
    assert [chunk for chunk in chunks[:-1] if "usage" in chunk] == []
    assert set(chunks[-1]["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    silent = ask(start("vllm"), stream_options=None)
    assert [chunk for chunk in silent if "usage" in chunk] == []


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_vllm_thinks_by_template_argument(start: Start, key: str) -> None:
    sim = start("vllm", reasoning_key=key)
    chunks = ask(sim, chat_template_kwargs={"enable_thinking": True})
    assert "".join(delta.get(key, "") for delta in deltas(chunks)).startswith("The user sent")
    message = whole(sim, chat_template_kwargs={"enable_thinking": True})["choices"][0]["message"]
    assert message[key].startswith("The user sent")


def test_vllm_answers_without_a_stream(start: Start) -> None:
    answer = whole(start("vllm"))
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": SAID}
    assert answer["usage"]["completion_tokens"] == 6


# --- vllm-omni ---


def sounds(chunks: list[dict[str, Any]]) -> list[bytes]:
    """The speech of vllm-omni, which stands where words are expected."""
    return [
        base64.b64decode(chunk["choices"][0]["delta"]["content"])
        for chunk in chunks
        if chunk.get("modality") == "audio" and chunk["choices"][0]["finish_reason"] is None
    ]


def test_vllm_omni_speaks_by_default_and_each_chunk_is_a_wav(start: Start) -> None:
    chunks = ask(start("vllm-omni", audio_chunk_bytes=4800))
    spoken = sounds(chunks)
    assert len(spoken) > 3
    assert {rate_hz(wav) for wav in spoken} == {24_000}
    words = [chunk for chunk in chunks if chunk.get("modality") == "text"]
    assert text(words) == SAID
    assert finish_reason(chunks) == "stop"
    assert all("metrics" in chunk for chunk in chunks if chunk["choices"])


def test_vllm_omni_may_send_one_header_and_another_rate(start: Start) -> None:
    sim = start("vllm-omni", wav_headers="first", speech_rate_hz=44_100)
    spoken = sounds(ask(sim))
    assert rate_hz(spoken[0]) == 44_100
    assert not any(wav.startswith(b"RIFF") for wav in spoken[1:])
    usual = sounds(ask(start("vllm-omni")))
    seconds = (sum(map(len, spoken)) - 44) / 88_200
    assert seconds == pytest.approx((sum(map(len, usual)) - 44 * len(usual)) / 48_000, abs=1e-3)


def test_vllm_omni_is_silent_for_text_or_without_a_talker(start: Start) -> None:
    assert sounds(ask(start("vllm-omni"), modalities=["text"])) == []
    assert sounds(ask(start("vllm-omni", talker=False), **SPEECH)) == []


def test_vllm_omni_errors_come_inside_the_stream_before_done(start: Start) -> None:
    sim = start("vllm-omni")
    sim.script(reply.fault("in_band_error"))
    chunks = events(post(sim, body()).text)
    assert chunks[-1]["error"]["code"] == 500


def test_vllm_omni_without_a_stream_speaks_in_a_second_choice(start: Start) -> None:
    answer = whole(start("vllm-omni"))
    words, speech = (choice["message"] for choice in answer["choices"])
    assert words["content"] == SAID
    assert rate_hz(base64.b64decode(speech["audio"]["data"])) == 24_000
    assert speech["audio"]["expires_at"] == answer["created"] + 86_400
