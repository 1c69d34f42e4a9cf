"""Tokens as the service bills them (Model Studio guide, Dec 2025: "billing and rate limiting")."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from omni_batch.simulator.checks.chat import Chat, Part
from omni_batch.simulator.checks.media_info import Film, Frames, Medium, Picture, Sound
from omni_batch.simulator.checks.models import MediaRules

PROMPT_OVERHEAD = 12
"""Tokens that the chat template adds to a request; the service documents no number."""
_WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """Prompt tokens by kind; None where that kind is absent."""

    text: int
    image: int | None = None
    audio: int | None = None
    video: int | None = None

    @property
    def total(self) -> int:
        """All kinds together."""
        return self.text + (self.image or 0) + (self.audio or 0) + (self.video or 0)


def text_tokens(text: str) -> int:
    """About one token for 1.5 Chinese, Japanese or Korean characters, or for 4 others."""
    wide = 0 if text.isascii() else len(_WIDE.findall(text))
    return math.ceil(wide / 1.5 + (len(text) - wide) / 4)


def audio_tokens(duration_s: float, rules: MediaRules) -> int:
    """Tokens of sound; less than a second counts as one."""
    return math.ceil(max(1.0, duration_s) * rules.audio_in_tokens_per_s)


LOW_DETAIL_TOKENS = 85
"""Of an image that OpenAI is told to look at in low detail (its guide to images)."""


def image_tokens(width_px: int, height_px: int, rules: MediaRules, *, most_patches: int) -> int:
    """Patches of an image after it was scaled between the limits, and two marks around it."""
    bounds = (rules.image_min_patches, most_patches)
    return _patches(width_px, height_px, rules, bounds, rules.sides_at_least_a_patch) + 2


def _patches(
    width_px: int, height_px: int, rules: MediaRules, bounds: tuple[float, float], clamp: bool
) -> int:
    """Count patches the published way: round both sides, then scale by area where needed."""
    patch, (least, most) = rules.patch_px, bounds
    rows, columns = round(height_px / patch), round(width_px / patch)
    if clamp:
        rows, columns = max(1, rows), max(1, columns)
    area = height_px * width_px / patch**2
    if rows * columns > most:
        shrink = math.sqrt(area / most)
        rows = math.floor(height_px / shrink / patch)
        columns = math.floor(width_px / shrink / patch)
    elif rows * columns < least:
        grow = math.sqrt(least / area)
        rows = math.ceil(height_px * grow / patch)
        columns = math.ceil(width_px * grow / patch)
    return rows * columns


def sampled_frames(frame_count: int, fps: float, rules: MediaRules, *, wanted_fps: float) -> int:
    """How many frames of a file the model looks at, an even number unless the clip is shorter."""
    seconds = frame_count / fps
    whole_s = seconds if seconds % 1 > 0.5 else math.floor(seconds)
    total = math.ceil(whole_s * fps)
    least = math.ceil(rules.min_frames / 2) * 2
    most = min(rules.max_frames, frame_count) // 2 * 2
    count = int(min(max(total / fps * wanted_fps, least), most, total))
    # The published code raises on clips under a second; two frames are what it needs.
    return max(2, count)


def video_tokens(width_px: int, height_px: int, frames: int, rules: MediaRules) -> int:
    """Tokens of `frames` sampled pictures; two pictures share their patches."""
    share = rules.video_total_patches / frames * 2
    most = max(min(rules.video_max_patches, share), int(rules.video_min_patches * 1.05))
    patches = _patches(width_px, height_px, rules, (rules.video_min_patches, most), True)
    tokens = patches * rules.patch_px**2 / rules.video_token_px**2
    return int(math.ceil(frames / 2) * tokens) + 2


def prompt_tokens(chat: Chat, media: Iterable[tuple[Part, Medium]]) -> PromptTokens:
    """Count a whole prompt, all turns together; `media` are its parts as they were measured."""
    counts: Counter[str] = Counter()
    for part, medium in media:
        for kind, count in _medium_tokens(part, medium, chat):
            counts[kind] += count
    text = PROMPT_OVERHEAD + sum(text_tokens(turn.text) for turn in chat.turns)
    return PromptTokens(text, counts.get("image"), counts.get("audio"), counts.get("video"))


def _medium_tokens(part: Part, medium: Medium, chat: Chat) -> Iterator[tuple[str, int]]:
    rules = chat.model.rules
    match medium:
        case Picture() if part.low_detail:
            yield "image", LOW_DETAIL_TOKENS
        case Picture():
            own = _as_asked(part, rules)
            most = _most_patches(part, chat, own)
            count = image_tokens(medium.width_px, medium.height_px, own, most_patches=most)
            yield "image", count
        case Sound():
            yield "audio", audio_tokens(medium.duration_s, rules)
        case Film():
            wanted = part.fps or 2.0
            frames = sampled_frames(medium.frame_count, medium.fps, rules, wanted_fps=wanted)
            own = _as_asked(part, rules)
            yield "video", video_tokens(medium.width_px, medium.height_px, frames, own)
            if medium.sound_s:
                yield "audio", audio_tokens(medium.sound_s, rules)
        case Frames():
            first, count = medium.pictures[0], len(medium.pictures)
            own = _as_asked(part, rules)
            yield "video", video_tokens(first.width_px, first.height_px, count, own)


def _as_asked(part: Part, rules: MediaRules) -> MediaRules:
    """The rules with the bounds that a part has beside it, where it has any."""

    def patches(pixels: int | None, usual: int) -> int:
        return usual if pixels is None else pixels // rules.patch_px**2

    return replace(
        rules,
        image_min_patches=patches(part.min_pixels, rules.image_min_patches),
        video_min_patches=patches(part.min_pixels, rules.video_min_patches),
        video_max_patches=patches(part.max_pixels, rules.video_max_patches),
        video_total_patches=patches(part.total_pixels, rules.video_total_patches),
    )


def _most_patches(part: Part, chat: Chat, rules: MediaRules) -> int:
    if chat.high_resolution:
        return rules.high_resolution_max_patches
    if part.max_pixels is not None:
        asked = part.max_pixels // rules.patch_px**2
        return max(rules.image_min_patches, min(asked, rules.high_resolution_max_patches))
    return rules.image_max_patches
