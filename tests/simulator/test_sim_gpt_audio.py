"""OpenAI's audio models."""

import base64
from typing import Any

import pytest

from omni_batch.simulator import reply
from tests.simulator import sim_media as media
from tests.simulator.sim_client import SPEECH, ask, body, deltas, post
from tests.simulator.sim_dialects import IMAGE, RAW, RAW_AUDIO, SAID, Start, pieces, rate_hz, whole

PCM16 = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}}


def test_openai_speaks_pcm16_with_a_transcript(start: Start) -> None:
    chunks = ask(start("openai"), [RAW_AUDIO, IMAGE], model="gpt-audio", **PCM16)
    audio = [delta["audio"] for delta in deltas(chunks) if "audio" in delta]
    assert "A recording of 2.0" in "".join(part.get("transcript", "") for part in audio)
    assert {delta["content"] for delta in deltas(chunks) if "content" in delta} == {None}
    assert all({"id", "expires_at"} <= set(part) for part in audio)
    details = chunks[-1]["usage"]["completion_tokens_details"]
    assert len(b"".join(pieces(chunks))) / 48_000 == pytest.approx(details["audio_tokens"] / 12.5)
    assert chunks[-1]["usage"]["prompt_tokens_details"]["audio_tokens"] == 25


@pytest.mark.parametrize(
    ("content", "changes", "said"),
    [
        ("x", SPEECH, "'audio.format' does not support 'wav' when stream=true"),
        ("x", {"modalities": ["text", "audio"]}, "Missing required parameter: 'audio'."),
        ("x", {"enable_thinking": False}, "Unrecognized request argument supplied: enable_th"),
        (
            [{"type": "input_audio", "input_audio": {"data": RAW, "format": "ogg"}}],
            {},
            "Supported values are: 'wav' and 'mp3'.",
        ),
        ([media.audio(media.uri(media.wav(1)))], {}, "is not of valid wav format."),
        ([media.video("https://a.example/b.mp4")], {}, "Unknown part type: video_url"),
    ],
)
def test_openai_refuses(start: Start, content: Any, changes: Any, said: str) -> None:
    response = post(start("openai"), body(content, **changes))
    assert response.status_code == 400
    assert said in response.json()["error"]["message"]


def test_openai_tells_limits_and_request_id_in_headers(start: Start) -> None:
    sim = start("openai", requests_per_minute=120, tokens_per_minute=60_000)
    headers = post(sim, body()).headers
    assert headers["x-request-id"].startswith("req_")
    assert headers["x-ratelimit-limit-requests"] == "120"
    assert headers["x-ratelimit-remaining-requests"] == "3"
    assert headers["x-ratelimit-limit-tokens"] == "60000"
    assert headers["x-ratelimit-reset-requests"].endswith("ms")


def test_openai_keeps_too_fast_and_too_poor_apart(start: Start) -> None:
    sim = start("openai", requests_per_minute=1e-3)
    sim.script(reply.fault("quota"))
    poor, _, _, fast = (post(sim, body()) for _ in range(4))
    assert (poor.status_code, poor.json()["error"]["code"]) == (429, "insufficient_quota")
    error = fast.json()["error"]
    assert (fast.status_code, error["code"]) == (429, "rate_limit_exceeded")
    assert (error["type"], fast.headers["x-ratelimit-remaining-requests"]) == ("requests", "0")


def test_a_scripted_message_is_kept(start: Start) -> None:
    sim = start("openai")
    sim.script(reply.status(429, code="insufficient_quota", message="Pay."), reply.status(503))
    poor, busy = (post(sim, body()).json()["error"] for _ in range(2))
    assert (poor["code"], poor["message"]) == ("insufficient_quota", "Pay.")
    assert (busy["code"], busy["type"]) == (None, "server_error")


def test_openai_too_many_tokens_are_no_empty_purse(start: Start) -> None:
    sim = start("openai", tokens_per_minute=60)
    refused = [post(sim, body("word " * 100)) for _ in range(2)][-1]
    error = refused.json()["error"]
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "tokens")
    assert "TPM" in error["message"]


def test_openai_without_a_stream_speaks_wav(start: Start) -> None:
    message = whole(start("openai"), **SPEECH)["choices"][0]["message"]
    assert (message["content"], message["audio"]["transcript"]) == (None, SAID)
    assert rate_hz(base64.b64decode(message["audio"]["data"])) == 24_000
