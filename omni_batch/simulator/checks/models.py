"""The models that are simulated, with their limits (Model Studio guide, Dec 2025; mirrors 2026)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from omni_batch.simulator.checks.voices import FLASH_0915, FLASH_1201, OMNI_3_5, TURBO

MIB = 2**20


@dataclass(frozen=True, slots=True)
class MediaRules:
    """How one family of models measures, counts and limits media.

    Counts of patches are in units of `patch_px` squared; one patch is one token.
    """

    patch_px: int
    image_min_patches: int
    image_max_patches: int
    high_resolution_max_patches: int
    """Upper bound with vl_high_resolution_images; the usual one where that has no effect."""
    video_min_patches: int
    video_max_patches: int
    video_total_patches: int
    min_frames: int
    """Fewest frames of a file that are looked at."""
    max_frames: int
    least_listed: int
    """Fewest pictures in a list of frames."""
    most_listed: float
    video_token_px: int
    """Side of the square that is one token of a video."""
    audio_in_tokens_per_s: float
    audio_out_tokens_per_s: float
    audio_max_s: float
    video_max_s: float
    video_min_s: float
    audio_files: int
    video_files: int
    mixes: bool
    """One user message may have several kinds of media."""
    sides_at_least_a_patch: bool
    data_uri_max_bytes: int = 10_485_760
    """Longest data URI, counted as it is written (printed in the service's error text)."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model name and what may be asked of it. Token limits are per request."""

    name: str
    rules: MediaRules
    kinds: frozenset[str]
    """Kinds of media it takes, out of image, audio, video, frames."""
    max_input_tokens: int
    max_output_tokens: int
    speech: bool = True
    thinking: Literal["never", "off", "on"] = "never"
    """"off" and "on" name the default of a model that can think."""
    max_thinking_input_tokens: int = 0
    max_thinking_tokens: int = 0
    text_tokens_include_reasoning: bool = False
    transcribes: bool = False
    """With speech the text arrives as `delta.audio.transcript` and not as content."""
    stream_only: bool = True
    searches: bool = False
    voices: tuple[str, ...] = ()


# fmt: off
FLASH_RULES = MediaRules(
    patch_px=32, image_min_patches=4, image_max_patches=1280, high_resolution_max_patches=1280,
    video_min_patches=64, video_max_patches=768, video_total_patches=16_384, video_token_px=32,
    min_frames=2, max_frames=128, least_listed=2, most_listed=128,
    audio_in_tokens_per_s=12.5, audio_out_tokens_per_s=12.5,
    audio_max_s=20 * 60, video_max_s=150, video_min_s=2, audio_files=1, video_files=1,
    mixes=False, sides_at_least_a_patch=False,
)
TURBO_RULES = replace(
    FLASH_RULES, patch_px=28, video_token_px=28, video_min_patches=128, min_frames=4,
    max_frames=80, least_listed=4, most_listed=80,
    audio_in_tokens_per_s=25, audio_out_tokens_per_s=25, audio_max_s=3 * 60, video_max_s=40,
)
OMNI_2_5_RULES = replace(
    TURBO_RULES, least_listed=1, most_listed=math.inf, audio_max_s=math.inf, video_max_s=math.inf,
)
"""No document states limits for it; that clips last two seconds at least holds for all models."""
WIDE_RULES = replace(
    FLASH_RULES, image_min_patches=24, high_resolution_max_patches=16_384,
    video_max_patches=640, video_total_patches=180_224, max_frames=2048, most_listed=2048,
    audio_in_tokens_per_s=7, audio_max_s=3 * 3600, video_max_s=3600,
    audio_files=2048, video_files=512, mixes=True, sides_at_least_a_patch=True,
)
OPEN_RULES = replace(
    FLASH_RULES, audio_max_s=math.inf, video_max_s=math.inf, video_min_s=0, mixes=True,
    least_listed=1, most_listed=math.inf, data_uri_max_bytes=2**40,
)
"""Servers of one's own: whatever fits the context; they count tokens as qwen3-omni-flash does."""
ALL = frozenset({"image", "audio", "video", "frames"})

FLASH = Model(
    name="qwen3-omni-flash", rules=FLASH_RULES, kinds=ALL,
    max_input_tokens=49_152, max_output_tokens=16_384,
    thinking="off", max_thinking_input_tokens=16_384, max_thinking_tokens=32_768,
)
# Field reports on turbo and 2.5 show the words in frames of `delta.audio` without data. The error
# text for an unknown voice is the same for both, and samples let 2.5 speak as Cherry, though the
# table of voices gives it two of the four.
OMNI_TURBO = Model(
    name="qwen-omni-turbo", rules=TURBO_RULES, kinds=ALL, voices=TURBO, transcribes=True,
    max_input_tokens=30_720, max_output_tokens=2048,
)
# Input and output caps of 3.5 are those of third-party lists: no official page names them.
OMNI_35 = Model(
    name="qwen3.5-omni-plus", rules=WIDE_RULES, kinds=ALL, voices=OMNI_3_5, searches=True,
    max_input_tokens=196_608, max_output_tokens=65_536,
)
OMNI_38 = Model(
    name="qwen3.8-omni-flash", rules=WIDE_RULES, kinds=ALL, speech=False, searches=True,
    max_input_tokens=991_808, max_output_tokens=131_072,
    thinking="on", max_thinking_input_tokens=983_616, max_thinking_tokens=131_072,
    text_tokens_include_reasoning=True,
)
CAPTIONER = Model(
    name="qwen3-omni-30b-a3b-captioner",
    rules=replace(FLASH_RULES, audio_max_s=40 * 60),  # its own page, March 2026
    kinds=frozenset({"audio"}), speech=False, stream_only=False,
    max_input_tokens=32_768, max_output_tokens=32_768,
)
PLAIN = Model(
    name="qwen-plus", rules=WIDE_RULES, kinds=frozenset(), speech=False, stream_only=False,
    max_input_tokens=129_024, max_output_tokens=32_768, searches=True,
    thinking="off", max_thinking_input_tokens=98_304, max_thinking_tokens=38_912,
    text_tokens_include_reasoning=True,
)
OPEN = Model(
    name="", rules=OPEN_RULES, kinds=frozenset({"image", "audio", "video"}), stream_only=False,
    max_input_tokens=65_536, max_output_tokens=65_536,
    thinking="off", max_thinking_input_tokens=65_536,
)
"""Any model on a server of one's own; its context is that of the open weights."""
# fmt: on


def _named(model: Model, *names: str) -> dict[str, Model]:
    return {name: replace(model, name=name) for name in names}


BEIJING_ONLY = frozenset({"qwen-omni-turbo-2025-01-19", "qwen-omni-turbo-0119"})
"""Models that the lists of other regions lack."""


@cache
def models(edition: str, region: str) -> Mapping[str, Model]:
    """Model name to model, as one edition of the guide has it.

    Args:
        edition: one of `EDITIONS`.
        region: one of `REGIONS`.
    """
    newest = _edited(replace(FLASH, voices=FLASH_1201), edition)
    older = replace(newest, voices=FLASH_0915)
    turbo = _edited(OMNI_TURBO, edition)
    omni_2_5 = _edited(replace(OMNI_TURBO, rules=OMNI_2_5_RULES), edition)
    every = (
        _named(older if edition == "2025-09" else newest, "qwen3-omni-flash")
        | _named(newest, "qwen3-omni-flash-2025-12-01")
        | _named(older, "qwen3-omni-flash-2025-09-15", "qwen3-omni-flash-0915")
        | _named(turbo, "qwen-omni-turbo", "qwen-omni-turbo-latest")
        | _named(turbo, "qwen-omni-turbo-2025-03-26", "qwen-omni-turbo-0326")
        | _named(turbo, "qwen-omni-turbo-2025-01-19", "qwen-omni-turbo-0119")
        | _named(omni_2_5, "qwen2.5-omni-7b")
        | _named(OMNI_35, "qwen3.5-omni-plus", "qwen3.5-omni-plus-2026-03-15")
        | _named(OMNI_35, "qwen3.5-omni-flash", "qwen3.5-omni-flash-2026-03-15")
        | _named(OMNI_38, "qwen3.8-omni-flash")
        | _named(CAPTIONER, "qwen3-omni-30b-a3b-captioner")
        | _named(PLAIN, "qwen-plus", "qwen-flash", "qwen-turbo", "qwen-max", "qwen3-max")
        | _named(PLAIN, "qwen3.5-plus", "qwen3.5-flash")
    )
    missing = frozenset() if region == "beijing" else BEIJING_ONLY
    return {name: model for name, model in every.items() if name not in missing}


def _edited(model: Model, edition: str) -> Model:
    """The model with the constants of video that an edition has for it.

    Until the end of 2025 every edition says 4 frames of 128 patches. They also say that a token of
    qwen-omni-turbo is 28 x 28 pixels, while their code divides by 32.
    """
    if edition == "latest":
        return model
    rules = replace(model.rules, video_min_patches=128, min_frames=4, video_token_px=32)
    return replace(model, rules=rules)
