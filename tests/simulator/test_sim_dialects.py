"""What all dialects share, and SGLang-Omni."""

from typing import Any

import httpx
import pytest

from omni_batch.simulator import DIALECTS, SimulatorOptions
from omni_batch.simulator.dialects import BY_NAME
from tests.simulator import sim_media as media
from tests.simulator.sim_client import SPEECH, ask, body, deltas, events, finish_reason, post, text
from tests.simulator.sim_dialects import IMAGE, SAID, Start, pieces, rate_hz

# --- all ---


def test_every_dialect_has_a_speaker() -> None:
    assert set(BY_NAME) == set(DIALECTS)
    with pytest.raises(ValueError, match="did you mean 'vllm-omni'"):
        SimulatorOptions(dialect="vllm_omni")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_prompt_is_answered_in_every_dialect(start: Start, dialect: str) -> None:
    chunks = ask(start(dialect), modalities=["text"])
    assert (text(chunks), finish_reason(chunks)) == (SAID, "stop")


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "dashscope"])
def test_servers_of_ones_own_answer_under_v1_without_key_and_for_any_model(
    start: Start, dialect: str
) -> None:
    sim = start(dialect)
    assert sim.base_url.endswith("/v1")
    assert "compatible-mode" not in sim.base_url
    response = post(sim, body(model="my/model", modalities=["text"]), headers={})
    assert events(response.text)[0]["model"] == "my/model"


@pytest.mark.parametrize("dialect", ["vllm", "vllm-omni", "sglang-omni", "openai"])
def test_only_the_hosted_service_moderates(start: Start, dialect: str) -> None:
    said = text(ask(start(dialect), "forbidden-input forbidden-output", modalities=["text"]))
    assert said == 'You wrote: "forbidden-input forbidden-output"'


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_both_names_for_the_longest_reply(start: Start, dialect: str, name: str) -> None:
    chunks = ask(start(dialect), modalities=["text"], **{name: 3})
    assert finish_reason(chunks) == "length"
    assert 0 < len(text(chunks)) < len(SAID)


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "dashscope"])
def test_only_the_hosted_service_stores_files_and_tells_quotas(start: Start, dialect: str) -> None:
    root = start(dialect).base_url.removesuffix("/v1")
    for path in ("/api/v1/quotas", "/api/v1/uploads?action=getPolicy&model=x"):
        assert httpx.get(root + path).status_code == 404
    assert httpx.post(f"{root}/oss").status_code == 404


def test_a_key_is_asked_for_where_one_was_given(start: Start) -> None:
    sim = start("vllm", api_key="secret")
    refused = post(sim, body(), headers={})
    assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized"})
    assert post(sim, body(), headers={"authorization": "Bearer secret"}).status_code == 200


def test_one_model_can_be_asked_about(start: Start) -> None:
    sim = start("dashscope")
    assert httpx.get(f"{sim.base_url}/models/qwen-omni-turbo").json()["id"] == "qwen-omni-turbo"
    assert httpx.get(f"{sim.base_url}/models/nothing").status_code == 404


# --- sglang-omni ---


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({"images": [media.uri(media.jpeg(64, 48))]}, "An image of 64 x 48"),
        ({"audios": ["https://a.example/3s.mp3"]}, "A recording of 3.0"),
        ({"videos": [media.uri(media.mp4(1))]}, "A video of 1.0 seconds"),
    ],
)
def test_sglang_omni_takes_lists_beside_the_messages(start: Start, lists: Any, said: str) -> None:
    assert text(ask(start("sglang-omni"), **lists)).startswith(said)


def test_sglang_omni_tells_usage_in_the_finish_frame_and_leaves_nulls_out(start: Start) -> None:
    chunks = ask(start("sglang-omni"), stream_options=None, **SPEECH)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["total_tokens"] > 10
    assert not any("usage" in chunk or None in chunk.values() for chunk in chunks[:-1])
    assert not any("finish_reason" in chunk["choices"][0] for chunk in chunks[:-1])
    assert text(chunks) == SAID
    assert [rate_hz(piece) for piece in pieces(chunks)] == [24_000] * len(pieces(chunks))
    audio = next(delta["audio"] for delta in deltas(chunks) if "audio" in delta)
    assert set(audio) == {"id", "data"}
    assert audio["id"].startswith("audio-")


def test_sglang_omni_sends_bare_samples_if_asked(start: Start) -> None:
    chunks = ask(start("sglang-omni"), modalities=["text", "audio"], audio={"format": "pcm"})
    assert not pieces(chunks)[0].startswith(b"RIFF")


def test_sglang_omni_without_a_talker_says_nothing_about_it(start: Start) -> None:
    chunks = ask(start("sglang-omni", talker=False), **SPEECH)
    assert (text(chunks), pieces(chunks)) == (SAID, [])


def test_sglang_omni_errors_have_a_detail(start: Start) -> None:
    refused = post(start("sglang-omni"), body([IMAGE]))
    assert (refused.status_code, set(refused.json())) == (400, {"detail"})
