"""Oddities of replies that were seen or feared, one option each; the meaning stays the same."""

import base64
import binascii
from itertools import accumulate
from typing import Any

import pytest

from omni_batch.simulator import Simulator, SimulatorOptions
from tests.simulator import sim_media as media
from tests.simulator.sim_client import (
    SPEECH,
    ask,
    body,
    deltas,
    events,
    finish_reason,
    pcm,
    post,
    text,
    usage,
)

LONG = "one two three four five six seven eight nine ten"
THINK = {"enable_thinking": True}


def chunks_of(options: dict[str, Any], content: Any = LONG, **changes: Any) -> list[dict[str, Any]]:
    with Simulator(SimulatorOptions(**options)) as sim:
        return ask(sim, content, **changes)


def audio(chunks: list[dict[str, Any]]) -> list[str]:
    return [d["audio"]["data"] for d in deltas(chunks) if "data" in d.get("audio", {})]


# --- usage ---


def test_usage_may_sit_in_the_finish_frame(sim: Simulator) -> None:
    chunks = chunks_of({"usage_in": "finish"})
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"] == usage(ask(sim, LONG))
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


@pytest.mark.parametrize("dialect", ["dashscope", "vllm", "sglang-omni", "openai"])
def test_usage_may_be_missing_although_it_was_asked_for(dialect: str) -> None:
    chunks = chunks_of({"usage_in": "none", "dialect": dialect})
    assert [chunk for chunk in chunks if chunk.get("usage")] == []
    assert finish_reason(chunks) == "stop"


@pytest.mark.parametrize(
    ("shape", "completion", "prompt"),
    [
        ("null", None, {"audio_tokens": None, "cached_tokens": 0}),
        (
            "null_members",
            {"audio_tokens": None, "reasoning_tokens": None, "text_tokens": 10},
            {"audio_tokens": None, "image_tokens": 302, "video_tokens": None, "text_tokens": 12},
        ),
    ],
)
def test_details_may_be_null(shape: str, completion: Any, prompt: Any) -> None:
    part = media.image("https://example.com/640x480.png")
    used = usage(chunks_of({"usage_details": shape}, [part]))
    completion = completion and {**completion, "text_tokens": used["completion_tokens"]}
    assert (used["completion_tokens_details"], used["prompt_tokens_details"]) == (
        *(completion, prompt),
    )
    assert used["prompt_tokens"] == 314


def test_details_may_be_absent() -> None:
    used = usage(chunks_of({"usage_details": "absent"}))
    assert set(used) == {"prompt_tokens", "completion_tokens", "total_tokens"}


@pytest.mark.parametrize("model", ["qwen3-omni-flash", "qwen3.8-omni-flash"])
@pytest.mark.parametrize("counted", ["exclusive", "inclusive"])
def test_reasoning_may_be_counted_in_or_out(model: str, counted: str) -> None:
    used = usage(chunks_of({"reasoning_counted": counted}, model=model, **THINK))
    details = used["completion_tokens_details"]
    beside = details["reasoning_tokens"] if counted == "exclusive" else 0
    assert details["text_tokens"] + beside == used["completion_tokens"]


# --- keys and frames ---


def test_some_keys_may_be_misspelt(sim: Simulator) -> None:
    chunks = chunks_of({"misspelt_keys": True}, **SPEECH)
    keys = {key for chunk in chunks for key in chunk}
    assert {"reated", "created", "tem_fingerprint", "systm_fingerprint"} <= keys
    expected = ask(sim, LONG, **SPEECH)
    assert (text(chunks), pcm(chunks)) == (text(expected), pcm(expected))


def test_words_and_speech_may_share_frames(sim: Simulator) -> None:
    chunks = chunks_of({"joint_frames": True}, **SPEECH)
    both = [delta for delta in deltas(chunks) if delta.get("content") and "audio" in delta]
    assert len(both) > 3
    expected = ask(sim, LONG, **SPEECH)
    assert (text(chunks), pcm(chunks)) == (text(expected), pcm(expected))


def test_shared_frames_keep_the_pace_of_speech() -> None:
    options = SimulatorOptions(joint_frames=True, realtime=True, audio_chunk_bytes=960)
    with Simulator(options) as sim:
        response = post(sim, body("a", max_tokens=1, **SPEECH))
    assert response.elapsed.total_seconds() >= len(pcm(events(response.text))) / 48_000 - 0.02


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("model", ["qwen3-omni-flash", "qwen-omni-turbo"])
def test_spoken_words_may_come_as_transcript(model: str, asked: bool) -> None:
    chunks = chunks_of({"transcript": asked}, model=model, **SPEECH)
    told = "".join(d["audio"].get("transcript", "") for d in deltas(chunks) if "audio" in d)
    assert bool(told) == asked
    assert told + text(chunks) == f'You wrote: "{LONG}"'


def test_text_without_speech_is_never_a_transcript() -> None:
    assert text(chunks_of({"transcript": True})) == f'You wrote: "{LONG}"'


# --- base64 ---


def test_an_odd_number_of_bytes_pads_every_piece(sim: Simulator) -> None:
    chunks = chunks_of({"audio_chunk_bytes": 19_201}, **SPEECH)
    pieces = audio(chunks)
    assert all(piece.endswith("=") for piece in pieces[:-1])
    assert {len(base64.b64decode(piece)) for piece in pieces[:-1]} == {19_201}
    assert pcm(chunks)[:-480] == pcm(ask(sim, LONG, **SPEECH))[:-480]


def test_base64_may_be_torn_between_frames(sim: Simulator) -> None:
    pieces = audio(chunks_of({"base64_cut": "torn"}, **SPEECH))
    ends = list(accumulate(map(len, pieces)))
    assert len(ends) > 5
    assert all(end % 4 for end in ends[:-1])
    with pytest.raises(binascii.Error):
        base64.b64decode(pieces[0], validate=True)
    assert base64.b64decode("".join(pieces), validate=True) == pcm(ask(sim, LONG, **SPEECH))


def test_a_frame_may_hold_two_padded_texts(sim: Simulator) -> None:
    pieces = audio(chunks_of({"base64_cut": "doubled"}, **SPEECH))
    sound = b""
    for piece in pieces:
        assert piece.count("==") >= 1
        first, second = piece.split("==", 1)
        assert second
        sound += base64.b64decode(f"{first}==") + base64.b64decode(second)
    assert sound == pcm(ask(sim, LONG, **SPEECH))


def test_torn_base64_may_begin_with_a_wav_header() -> None:
    pieces = audio(chunks_of({"base64_cut": "torn", "wav_headers": "first"}, **SPEECH))
    assert base64.b64decode("".join(pieces)).startswith(b"RIFF")


# --- parameters ---


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_both_names_for_the_longest_reply(sim: Simulator, name: str) -> None:
    chunks = ask(sim, LONG, **{name: 5})
    assert finish_reason(chunks) == "length"
    assert usage(chunks)["completion_tokens"] <= 5
    refused = post(sim, body(**{name: 0}))
    assert f"Range of {name} should be [1, 16384]" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"usage_in": "nowhere"}, "unknown usage_in"),
        ({"base64_cut": "tear"}, "did you mean 'torn'"),
        ({"usage_details": "nul"}, "did you mean 'null'"),
        ({"reasoning_key": "thoughts"}, "unknown reasoning_key"),
        ({"speech_rate_hz": 0}, "speech_rate_hz is 0"),
        ({"batch_wait_s": -1}, "batch_wait_s is -1"),
        ({"burst_growth_per_s": 0.5}, "burst_growth_per_s is 0.5"),
    ],
)
def test_bad_shapes_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SimulatorOptions(**options)
