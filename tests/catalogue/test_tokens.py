"""Prompt tokens by the service's published rules: its worked examples, and laws."""

import math
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.catalogue import TokenRules, catalogue
from omni_batch.catalogue.tokens import (
    PromptEstimate,
    assumed_size,
    audio_tokens,
    estimate_prompt,
    frames_tokens,
    image_tokens,
    rules_of,
    text_tokens,
    video_tokens,
)
from omni_batch.types import Frames, Media, Message, Part, Request


def rules(name: str) -> TokenRules:
    model = catalogue().model(name)
    assert model is not None
    return model.tokens


FLASH, TURBO, PLUS = map(rules, ("qwen3-omni-flash", "qwen-omni-turbo", "qwen3.5-omni-plus"))
SIDE = st.integers(1, 8000)


def estimate(*parts: Part, system: str = "") -> PromptEstimate:
    messages = (Message("system", (system,)), Message("user", parts))
    return estimate_prompt(Request("m", messages, "text"), FLASH)


@pytest.mark.parametrize(
    ("height_px", "width_px", "flash", "turbo", "plus"),
    [
        (100, 100, 11, 18, 27),
        (480, 640, 302, 393, 302),
        (1080, 1920, 1224, 1224, 1224),
        (3000, 4000, 1232, 1232, 1232),
    ],
)
def test_an_image_costs_what_the_guide_computes(
    height_px: int, width_px: int, flash: int, turbo: int, plus: int
) -> None:
    costs = [image_tokens(height_px, width_px, rules) for rules in (FLASH, TURBO, PLUS)]
    assert costs == [flash, turbo, plus]


@pytest.mark.parametrize(
    ("height_px", "width_px", "duration_s", "frames_per_s", "flash", "turbo", "plus"),
    [
        (720, 1280, 10, 30, 7202, 7202, 5942),
        (1080, 1920, 120, 30, 16130, 15602, 71282),
        (360, 640, 3, 25, 662, 899, 662),
    ],
)
def test_a_video_costs_what_the_guide_computes(
    height_px: int,
    width_px: int,
    duration_s: float,
    frames_per_s: float,
    flash: int,
    turbo: int,
    plus: int,
) -> None:
    clip = (height_px, width_px, duration_s, frames_per_s)
    assert [video_tokens(*clip, rules) for rules in (FLASH, TURBO, PLUS)] == [flash, turbo, plus]


@pytest.mark.parametrize(
    ("duration_s", "flash", "turbo", "plus"),
    [(10, 125, 250, 70), (10.1, 127, 253, 71), (0.2, 13, 25, 7), (0, 13, 25, 7), (1, 13, 25, 7)],
)
def test_sound_costs_by_the_second_and_at_least_one(
    duration_s: float, flash: int, turbo: int, plus: int
) -> None:
    costs = [audio_tokens(duration_s, rules) for rules in (FLASH, TURBO, PLUS)]
    assert costs == [flash, turbo, plus]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("abcd", 1),
        ("abcde", 2),
        ("你好吗", 2),
        ("你好吗abcd", 3),
        ("é" * 8, 2),
        ("\u2e80" * 3, 2),
    ],
)
def test_text_is_estimated_by_its_script(text: str, tokens: int) -> None:
    assert text_tokens(text) == tokens


@given(st.text(), st.text())
def test_more_text_never_costs_less(text: str, more: str) -> None:
    assert text_tokens(text) <= text_tokens(text + more)
    assert text_tokens(text + more) <= text_tokens(text) + text_tokens(more)


@given(SIDE, SIDE, st.sampled_from([FLASH, TURBO, PLUS]))
def test_an_image_stays_within_its_budget_and_may_be_turned(
    height_px: int, width_px: int, rules: TokenRules
) -> None:
    tokens = image_tokens(height_px, width_px, rules)
    assert tokens == image_tokens(width_px, height_px, rules)
    if max(height_px, width_px) <= 200 * min(height_px, width_px):  # else it is refused
        assert rules.image_min_tokens <= tokens - 2 <= rules.image_max_tokens


@given(st.floats(0, 4000), st.floats(0.1, 240), st.sampled_from([FLASH, TURBO, PLUS]))
def test_a_video_of_any_length_and_rate_can_be_estimated(
    duration_s: float, frames_per_s: float, rules: TokenRules
) -> None:
    tokens = video_tokens(720, 1280, duration_s, frames_per_s, rules)
    # An odd number of frames is rounded up to pairs after the pixels were shared out.
    assert rules.video_min_patches <= tokens - 2 <= 1.03 * rules.video_total_patches


@pytest.mark.parametrize(
    ("duration_s", "frames"),
    [(0.02, 2), (1, 2), (2, 4), (3.5, 6), (3.6, 7), (10, 20), (63.9, 127), (64, 128), (300, 128)],
)
def test_two_frames_are_taken_of_each_second_within_bounds(duration_s: float, frames: int) -> None:
    # 128 x 128 pixels are 16 patches; a frame is scaled up to 64, and two frames share them.
    expected = math.ceil(frames / 2) * 64 + 2
    assert video_tokens(128, 128, duration_s, 25, FLASH) == expected


@pytest.mark.parametrize(
    ("least", "duration_s", "frames"),
    [(4, 1, 4), (3, 1, 4), (4, 3, 6), (6, 1, 6), (6, 0.6, 6)],
)
def test_a_short_clip_gives_the_least_number_of_frames(
    least: int, duration_s: float, frames: int
) -> None:
    rules = msgspec.structs.replace(FLASH, video_frames_min=least)
    assert video_tokens(128, 128, duration_s, 25, rules) == frames // 2 * 64 + 2


@given(st.integers(1, 59))
def test_a_longer_video_never_costs_less(duration_s: int) -> None:
    # From 60 s on, 120 frames fill the budget and each is shrunk.
    shorter, longer = (video_tokens(360, 640, duration_s + n, 30, FLASH) for n in (0, 1))
    assert shorter < longer


@pytest.mark.parametrize(
    ("media", "assumed"),
    [
        (Media("image", "i", width_px=640, height_px=480), None),
        (Media("image", "i", width_px=640), "1280 x 720 px"),
        (Media("image", "i"), "1280 x 720 px"),
        (Media("audio", "a", duration_s=3), None),
        (Media("audio", "a"), "10 s"),
        (Media("video", "v", duration_s=3), "1280 x 720 px"),
        (Media("video", "v", width_px=640, height_px=480), "10 s"),
        (Media("video", "v"), "1280 x 720 px and 10 s"),
    ],
)
def test_what_an_estimate_takes_for_granted_is_said(media: Media, assumed: str | None) -> None:
    assert assumed_size(media) == assumed


def test_options_on_pixels_change_the_budget_of_a_picture() -> None:
    patch = FLASH.image_factor_px**2
    few, many = (rules_of(FLASH, {option: 100 * patch}) for option in ("max_pixels", "min_pixels"))
    assert 80 <= image_tokens(3000, 4000, few) - 2 <= 100
    assert 100 <= image_tokens(32, 32, many) - 2 <= 120
    assert rules_of(FLASH, {"temperature": 1, "max_pixels": None}) == FLASH
    assert rules_of(FLASH, {"total_pixels": 500 * patch}).video_total_patches == 500


def test_a_prompt_is_the_sum_of_its_parts() -> None:
    image = Media("image", "i", width_px=640, height_px=480)
    sound = Media("audio", "a", duration_s=10)
    clip = Media(
        "video", "v", probed=True, width_px=1280, height_px=720, duration_s=10, frames_per_s=30
    )
    assert estimate(image) == PromptEstimate(text=15, image=302)
    assert estimate(sound, "abcd") == PromptEstimate(text=16, audio=125)
    assert estimate("abcd", system="abcd") == PromptEstimate(text=17)
    both = estimate(image, sound, image)
    assert (both, both.total) == (PromptEstimate(text=15, audio=125, image=604), 744)
    assert estimate(clip).video == 7202


def test_a_video_is_heard_when_it_has_sound_or_nobody_looked() -> None:
    clip = Media("video", "v", width_px=1280, height_px=720, duration_s=10.0)
    silent = replace(clip, probed=True)
    loud = replace(clip, probed=True, has_sound=True)
    remote = replace(clip, url="https://example.org/v.mp4")
    assert [estimate(media).audio for media in (silent, loud, remote)] == [0, 125, 125]


def test_pictures_and_sound_of_a_video_cost_by_their_own_lengths() -> None:
    clip = Media("video", "v", width_px=1280, height_px=720, frames_per_s=30, probed=True)
    clip = replace(clip, has_sound=True)
    longer = estimate(replace(clip, duration_s=10.0, sound_s=30.0))
    shorter = estimate(replace(clip, duration_s=10.0, sound_s=4.0))
    assert (longer.video, longer.audio) == (7202, 375)
    assert (shorter.video, shorter.audio) == (7202, 50)


@pytest.mark.parametrize(
    ("height_px", "width_px", "flash", "turbo", "plus"),
    [
        (11, 2200, 31, 31, 71),
        (14, 1400, 22, 22, 46),
        (16, 1600, 22, 59, 52),
        (17, 1700, 55, 63, 55),
    ],
)
def test_a_side_of_less_than_half_a_patch_is_lost_and_the_image_enlarged(
    height_px: int, width_px: int, flash: int, turbo: int, plus: int
) -> None:
    """As the published code has it: round(11 / 32) is 0. Later code knows no such sides."""
    costs = [image_tokens(height_px, width_px, rules) for rules in (FLASH, TURBO, PLUS)]
    assert costs == [flash, turbo, plus]


def test_sound_is_not_rounded_up_by_a_float() -> None:
    assert audio_tokens(30 * 0.072, FLASH) == 27


def test_a_frame_list_counts_as_a_video_of_so_many_frames() -> None:
    image = Media("image", "i", width_px=1280, height_px=720)
    assert estimate(Frames((image,) * 20)) == PromptEstimate(text=15, video=7202)
    assert frames_tokens((image,), FLASH) == frames_tokens((image,) * 2, FLASH)


def test_media_of_unknown_size_count_as_720p_and_ten_seconds() -> None:
    unknown, known = Media("image", "i"), Media("image", "i", width_px=1280, height_px=720)
    assert estimate(unknown) == estimate(known)
    assert estimate(Media("audio", "a")).audio == 125
    assert estimate(Media("video", "v")).video == 7202
    assert estimate(Frames((unknown,) * 4)) == estimate(Frames((known,) * 4))


def test_an_unknown_model_is_estimated_as_qwen3_omni_flash() -> None:
    assert msgspec.structs.replace(catalogue().tokens, audio_out_per_s=12.5) == FLASH
