"""The guide's editions, each played as it reads, and the models that one region lacks."""

from typing import Any

import httpx
import pytest

from omni_batch.simulator import EDITIONS, Simulator
from omni_batch.simulator.checks.models import models
from omni_batch.simulator.checks.voices import FLASH_0915, FLASH_1201
from omni_batch.simulator.replies.tokens import sampled_frames
from tests.simulator import sim_media as media
from tests.simulator.sim_client import ask, body, post, refusal, text, usage
from tests.simulator.sim_dialects import Start

CLIP = "https://example.com/{}/{}s.mp4"
ONLY_LATER = "Momo"


def speaks(sim: Simulator, voice: str, model: str = "qwen3-omni-flash") -> bool:
    asked = {"modalities": ["text", "audio"], "audio": {"voice": voice, "format": "wav"}}
    response = post(sim, body(model=model, **asked))
    assert response.status_code in (200, 400), response.text
    return response.status_code == 200


def video_tokens(sim: Simulator, size: str, seconds: int, model: str = "qwen3-omni-flash") -> int:
    chunks = ask(sim, [media.video(CLIP.format(size, seconds))], model=model)
    return int(usage(chunks)["prompt_tokens_details"]["video_tokens"])


@pytest.mark.parametrize(
    ("edition", "later"), [("2025-09", False), ("2025-12", True), ("latest", True)]
)
def test_the_stable_name_is_the_snapshot_of_its_edition(
    start: Start, edition: str, later: bool
) -> None:
    sim = start("dashscope", edition=edition)
    assert speaks(sim, ONLY_LATER) == later
    assert speaks(sim, "Nofish")


@pytest.mark.parametrize("edition", EDITIONS)
def test_a_snapshot_has_its_own_voices_in_every_edition(start: Start, edition: str) -> None:
    sim = start("dashscope", edition=edition)
    assert speaks(sim, ONLY_LATER, "qwen3-omni-flash-2025-12-01")
    assert not speaks(sim, ONLY_LATER, "qwen3-omni-flash-2025-09-15")
    assert not speaks(sim, ONLY_LATER, "qwen3-omni-flash-0915")


def test_the_snapshots_have_17_and_49_voices() -> None:
    assert (len(set(FLASH_0915)), len(set(FLASH_1201))) == (17, 49)


@pytest.mark.parametrize(
    ("size", "seconds", "earlier", "later"),
    [
        ("320x240", 10, 1402, 802),
        ("64x64", 3, 434, 194),
        ("426x240", 149, 9218, 6658),
        ("1280x720", 10, 7202, 7202),
        ("640x360", 3, 662, 662),
    ],
)
def test_small_videos_count_more_in_earlier_editions(
    start: Start, size: str, seconds: int, earlier: int, later: int
) -> None:
    counts = {"2025-09": earlier, "2025-12": earlier, "latest": later}
    for edition, tokens in counts.items():
        assert video_tokens(start("dashscope", edition=edition), size, seconds) == tokens


@pytest.mark.parametrize("model", ["qwen-omni-turbo", "qwen2.5-omni-7b"])
def test_the_older_models_count_28_pixels_or_as_the_code_divides(start: Start, model: str) -> None:
    words, code = start("dashscope"), start("dashscope", edition="2025-12")
    assert video_tokens(words, "1280x720", 10, model) == 7202
    assert video_tokens(code, "1280x720", 10, model) == 5514


@pytest.mark.parametrize(("edition", "frames"), [("2025-12", 4), ("latest", 2)])
def test_more_frames_are_looked_at_in_earlier_editions(edition: str, frames: int) -> None:
    """It shows only in clips under two seconds, which are refused before they are counted."""
    rules = models(edition, "beijing")["qwen3-omni-flash"].rules
    assert sampled_frames(12, 10, rules, wanted_fps=2) == frames


def test_an_edition_can_be_changed_while_it_runs(start: Start) -> None:
    sim = start("dashscope", seed=1)
    assert speaks(sim, ONLY_LATER)
    sim.change(edition="2025-09")
    assert not speaks(sim, ONLY_LATER)
    with pytest.raises(ValueError, match="did you mean '2025-12'"):
        sim.change(edition="2025-11")


@pytest.mark.parametrize(
    "name", ["qwen3-omni-flash-0915", "qwen-omni-turbo-0326", "qwen-omni-turbo-0119"]
)
def test_short_names_are_known(sim: Simulator, name: str) -> None:
    chunks = ask(sim, model=name)
    assert text(chunks) == 'You wrote: "hello there"'
    assert chunks[0]["model"] == name


@pytest.mark.parametrize("name", ["qwen-omni-turbo-2025-01-19", "qwen-omni-turbo-0119"])
def test_the_oldest_turbo_is_only_in_beijing(start: Start, name: str) -> None:
    beijing, singapore = start("dashscope"), start("dashscope", region="singapore")
    assert post(beijing, body(model=name)).status_code == 200
    assert refusal(post(singapore, body(model=name)))[:2] == (404, "model_not_found")
    assert httpx.get(f"{singapore.base_url}/models/{name}").status_code == 404


def test_batch_chat_is_only_in_beijing(start: Start) -> None:
    singapore = start("dashscope", region="singapore")
    with pytest.raises(RuntimeError, match="singapore has no Batch Chat"):
        _ = singapore.batch_base_url
    url = singapore.base_url.replace("/compatible-mode", "/batch/compatible-mode")
    assert httpx.post(f"{url}/chat/completions", json=body()).status_code == 404


@pytest.mark.parametrize("voice", ["Cherry", "Serena", "Ethan", "Chelsie"])
def test_the_open_7b_speaks_with_the_voices_of_the_samples(sim: Simulator, voice: str) -> None:
    assert speaks(sim, voice, "qwen2.5-omni-7b")


@pytest.mark.parametrize(
    "part",
    [
        media.audio("https://example.com/1900s.mp3"),
        media.video("https://example.com/320x240/190s.mp4"),
        media.frames(["https://example.com/320x240.jpg"] * 2),
        media.frames(["https://example.com/320x240.jpg"] * 90),
    ],
)
def test_limits_that_nobody_states_for_the_open_7b_refuse_nothing(
    sim: Simulator, part: Any
) -> None:
    request = body([part], model="qwen2.5-omni-7b")
    response = post(sim, request)
    assert response.status_code == 200 or "Range of input length" in response.text
    assert post(sim, {**request, "model": "qwen-omni-turbo"}).status_code == 400
