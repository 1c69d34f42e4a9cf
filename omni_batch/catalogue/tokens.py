"""Prompt tokens before they are billed, by the service's published rules. Pure.

Sources: Qwen-Omni guide, Dec 2025, "token calculation", with the constants of its 2026 mirrors
(`omni_batch/catalogue`). No public tokenizer contract exists, so text is a rule of thumb.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from omni_batch.catalogue import TokenRules
from omni_batch.types import Frames, Media, Request

_CHAT_TEMPLATE_TOKENS = 15
_CHARS_PER_TOKEN = 4.0
_CJK_CHARS_PER_TOKEN = 1.5
_CJK_START = "\u2e80"
_UNKNOWN_SIZE_PX = (1280, 720)
_UNKNOWN_DURATION_S = 10.0
_UNKNOWN_FRAMES_PER_S = 25.0
_PIXEL_OPTIONS = {
    "min_pixels": ("image_min_tokens", "video_min_patches"),
    "max_pixels": ("image_max_tokens", "video_max_patches"),
    "total_pixels": ("video_total_patches",),
}


def rules_of(rules: TokenRules, options: Mapping[str, Any]) -> TokenRules:
    """The rules as a request's options change them.

    Args:
        rules: a model's, or the catalogue's for an unknown model.
        options: of the request, by name; others than those on pixels and frames change nothing.
    """
    patch = rules.image_factor_px**2
    sharp = options.get("vl_high_resolution_images")
    wanted = {
        "image_max_tokens": rules.image_max_tokens_high_resolution if sharp else None,
        "video_sample_fps": options.get("fps"),
    }
    for option, names in _PIXEL_OPTIONS.items():
        if options.get(option):
            wanted |= dict.fromkeys(names, max(1, options[option] // patch))
    return msgspec.structs.replace(rules, **{name: n for name, n in wanted.items() if n})


@dataclass(frozen=True, slots=True)
class PromptEstimate:
    """Tokens by modality."""

    text: int = 0
    audio: int = 0
    image: int = 0
    video: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.text + self.audio + self.image + self.video

    def __add__(self, other: "PromptEstimate") -> "PromptEstimate":
        return PromptEstimate(
            self.text + other.text,
            self.audio + other.audio,
            self.image + other.image,
            self.video + other.video,
        )


def estimate_prompt(request: Request, rules: TokenRules) -> PromptEstimate:
    """What the request will cost to read. Media of unknown size count as 720p or 10 s."""
    total = PromptEstimate(text=_CHAT_TEMPLATE_TOKENS)
    for part in (part for message in request.messages for part in message.parts):
        match part:
            case str():
                total += PromptEstimate(text=text_tokens(part))
            case Media(options=own):
                total += _media(part, rules_of(rules, dict(own)) if own else rules)
            case Frames(images, own):
                own_rules = rules_of(rules, dict(own)) if own else rules
                total += PromptEstimate(video=frames_tokens(images, own_rules))
    return total


def text_tokens(text: str) -> int:
    """About one token for 4 Latin characters or 1.5 Chinese, Japanese or Korean ones."""
    cjk = sum(char >= _CJK_START for char in text) if not text.isascii() else 0
    return math.ceil(cjk / _CJK_CHARS_PER_TOKEN + (len(text) - cjk) / _CHARS_PER_TOKEN)


def audio_tokens(duration_s: float, rules: TokenRules) -> int:
    """Sound in; less than a second counts as one. Rounding is not documented: up."""
    tokens = max(duration_s, rules.audio_min_s) * rules.audio_in_per_s
    return math.ceil(round(tokens, 6))  # 2.16 s are 27 tokens, not 27.000000000000004


def image_tokens(height_px: int, width_px: int, rules: TokenRules) -> int:
    """One image, after the service has resized it."""
    factor = rules.image_factor_px
    least_px2, most_px2 = rules.image_min_tokens * factor**2, rules.image_max_tokens * factor**2
    sides_px, side_min_px = (height_px, width_px), rules.image_side_min_patches * factor
    return _patches(sides_px, factor, side_min_px, least_px2, most_px2) + rules.image_extra_tokens


def video_tokens(
    height_px: int, width_px: int, duration_s: float, frames_per_s: float, rules: TokenRules
) -> int:
    """The pictures of a video file; its sound is counted by `audio_tokens`."""
    frames = _sampled_frames(duration_s, frames_per_s, rules)
    return _sampled_tokens(height_px, width_px, frames, rules)


def frames_tokens(images: tuple[Media, ...], rules: TokenRules) -> int:
    """A list of frames. No rule is published; each image is taken as one sampled frame."""
    first = images[0]
    height, width = first.height_px or _UNKNOWN_SIZE_PX[1], first.width_px or _UNKNOWN_SIZE_PX[0]
    return _sampled_tokens(height, width, max(2, len(images)), rules)


def assumed_size(media: Media) -> str | None:
    """What an estimate takes for a measure that nobody knows, in words; None where all is known."""
    assumed = []
    if media.kind != "audio" and not (media.width_px and media.height_px):
        assumed.append("{} x {} px".format(*_UNKNOWN_SIZE_PX))
    if media.kind != "image" and not media.duration_s:
        assumed.append(f"{_UNKNOWN_DURATION_S:g} s")
    return " and ".join(assumed) or None


def _media(media: Media, rules: TokenRules) -> PromptEstimate:
    width, height = media.width_px or _UNKNOWN_SIZE_PX[0], media.height_px or _UNKNOWN_SIZE_PX[1]
    duration_s = media.duration_s or _UNKNOWN_DURATION_S
    match media.kind:
        case "image":
            return PromptEstimate(image=image_tokens(height, width, rules))
        case "audio":
            return PromptEstimate(audio=audio_tokens(duration_s, rules))
        case "video":
            frames_per_s = media.frames_per_s or _UNKNOWN_FRAMES_PER_S
            hears = media.has_sound or not media.probed
            return PromptEstimate(
                video=video_tokens(height, width, duration_s, frames_per_s, rules),
                audio=audio_tokens(media.sound_s or duration_s, rules) if hears else 0,
            )


def _patches(
    sides_px: tuple[int, int], factor: int, side_min_px: int, least_px2: float, most_px2: float
) -> int:
    """Round both sides to the factor, then shrink or grow into the pixel budget; count patches.

    Python's round (half to even) is what the published code uses, and so is a side that is rounded
    to nothing: the picture is then enlarged to the least.
    """
    height, width = sides_px
    new_height, new_width = (max(side_min_px, round(px / factor) * factor) for px in sides_px)
    if new_height * new_width > most_px2:
        scale = math.sqrt(height * width / most_px2)
        new_height, new_width = (
            max(side_min_px, math.floor(px / scale / factor) * factor) for px in sides_px
        )
    elif new_height * new_width < least_px2:
        scale = math.sqrt(least_px2 / (height * width))
        new_height, new_width = (math.ceil(px * scale / factor) * factor for px in sides_px)
    return new_height * new_width // factor**2


def _sampled_frames(duration_s: float, frames_per_s: float, rules: TokenRules) -> int:
    """How many frames the service takes of a clip, two a second within its bounds."""
    whole = int(duration_s)
    total = math.ceil((duration_s if duration_s - whole > 0.5 else whole) * frames_per_s)
    least = math.ceil(rules.video_frames_min / 2) * 2
    most = min(rules.video_frames_max, round(duration_s * frames_per_s)) // 2 * 2
    wanted = total / frames_per_s * rules.video_sample_fps
    # The published code fails on clips of less than two frames.
    return max(2, int(min(max(wanted, least), most, total)))


def _sampled_tokens(height: int, width: int, frames: int, rules: TokenRules) -> int:
    factor = rules.image_factor_px
    patch = factor * factor
    least = rules.video_min_patches * patch
    share = rules.video_total_patches * patch / frames * rules.video_frames_per_token
    most = max(min(rules.video_max_patches * patch, share), int(least * 1.05))
    pairs = math.ceil(frames / rules.video_frames_per_token)
    # The code for videos has always had the least side of one patch (guide).
    patches = pairs * _patches((height, width), factor, factor, least, most)
    return patches * patch // (rules.video_divisor_px or factor) ** 2 + rules.image_extra_tokens
