"""Token counts, held against the numbers that the published formulas give."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from omni_batch.simulator import Simulator
from omni_batch.simulator.checks.models import FLASH_RULES, TURBO_RULES, WIDE_RULES, MediaRules
from omni_batch.simulator.replies.tokens import (
    audio_tokens,
    image_tokens,
    sampled_frames,
    text_tokens,
    video_tokens,
)
from tests.simulator import sim_media as media
from tests.simulator.sim_client import ask, usage

FAMILIES = (FLASH_RULES, TURBO_RULES, WIDE_RULES)


@pytest.mark.parametrize(
    ("height", "width", "expected", "sharp"),
    [
        (100, 100, (11, 18, 27), 27),
        (480, 640, (302, 393, 302), 302),
        (1080, 1920, (1224, 1224, 1224), 2042),
        (3000, 4000, (1232, 1232, 1232), 11752),
    ],
)
def test_images(height: int, width: int, expected: tuple[int, ...], sharp: int) -> None:
    counts = [
        image_tokens(width, height, rules, most_patches=rules.image_max_patches)
        for rules in FAMILIES
    ]
    assert tuple(counts) == expected
    most = WIDE_RULES.high_resolution_max_patches
    assert image_tokens(width, height, WIDE_RULES, most_patches=most) == sharp


@pytest.mark.parametrize(
    ("height", "width", "fps", "seconds", "frames", "expected"),
    [
        (720, 1280, 30, 10, (20, 20, 20), (7202, 7202, 5942)),
        (1080, 1920, 30, 120, (128, 80, 240), (16130, 15602, 71282)),
        (360, 640, 25, 3, (6, 6, 6), (662, 899, 662)),
    ],
)
def test_videos(
    height: int,
    width: int,
    fps: int,
    seconds: int,
    frames: tuple[int, ...],
    expected: tuple[int, ...],
) -> None:
    counts = [sampled_frames(fps * seconds, fps, rules, wanted_fps=2) for rules in FAMILIES]
    assert tuple(counts) == frames
    tokens = [
        video_tokens(width, height, count, rules)
        for count, rules in zip(counts, FAMILIES, strict=True)
    ]
    assert tuple(tokens) == expected


@pytest.mark.parametrize(
    ("rules", "seconds", "expected"),
    [
        (FLASH_RULES, 3.2, 40),
        (TURBO_RULES, 3.2, 80),
        (WIDE_RULES, 3.2, 23),
        (FLASH_RULES, 0.2, 13),
        (WIDE_RULES, 0.2, 7),
    ],
)
def test_sound_counts_by_the_second_and_at_least_one(
    rules: MediaRules, seconds: float, expected: int
) -> None:
    assert audio_tokens(seconds, rules) == expected


def test_chinese_text_is_denser_than_english() -> None:
    assert (text_tokens("abcdefgh"), text_tokens("\u4f60\u597d\u4e16\u754c\u554a\u5440")) == (2, 4)


def test_usage_names_only_the_kinds_that_are_present(sim: Simulator) -> None:
    used = usage(ask(sim, [media.image("https://example.com/640x480.png")]))
    assert used["prompt_tokens_details"] == {"image_tokens": 302, "text_tokens": 12}
    assert used["prompt_tokens"] == 314
    assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"]


def test_a_sound_track_counts_as_audio(sim: Simulator) -> None:
    silent = usage(ask(sim, [media.video(media.uri(media.mp4(4)))]))["prompt_tokens_details"]
    spoken = usage(ask(sim, [media.video(media.uri(media.mp4_with_sound(4)))]))
    assert "audio_tokens" not in silent
    assert spoken["prompt_tokens_details"]["audio_tokens"] >= 50
    assert spoken["prompt_tokens_details"]["video_tokens"] == silent["video_tokens"]


def test_media_of_earlier_turns_count_too(sim: Simulator) -> None:
    turns = [
        {"role": "user", "content": [media.image("https://example.com/640x480.png")]},
        {"role": "assistant", "content": "An image."},
        {"role": "user", "content": [media.audio("https://example.com/4s.mp3")]},
    ]
    details = usage(ask(sim, messages=turns))["prompt_tokens_details"]
    assert (details["image_tokens"], details["audio_tokens"]) == (302, 50)


def test_a_list_of_frames_counts_as_video(sim: Simulator) -> None:
    urls = [f"https://example.com/640x360/{number}.jpg" for number in range(6)]
    details = usage(ask(sim, [media.frames(urls)]))["prompt_tokens_details"]
    assert details == {"video_tokens": 662, "text_tokens": 12}


def test_high_resolution_and_max_pixels_change_an_image(sim: Simulator) -> None:
    def tokens(part: Mapping[str, int] = MappingProxyType({}), **changes: Any) -> int:
        image = media.image("https://example.com/1920x1080.png", **part)
        chunks = ask(sim, [image], model="qwen3.5-omni-plus", **changes)
        return int(usage(chunks)["prompt_tokens_details"]["image_tokens"])

    assert tokens() == 1224
    assert tokens(vl_high_resolution_images=True) == 2042
    assert tokens(part={"max_pixels": 100 * 1024}) <= 102


def test_frames_per_second_of_a_part_change_a_video(sim: Simulator) -> None:
    def tokens(fps: float) -> int:
        part = media.video("https://example.com/640x360/10s.mp4", fps=fps)
        chunks = ask(sim, [part], model="qwen3.5-omni-plus")
        return int(usage(chunks)["prompt_tokens_details"]["video_tokens"])

    assert (tokens(2), tokens(1)) == (2202, 1102)
