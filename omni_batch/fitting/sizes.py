"""Sizes in pixels and bytes that fit. Pure."""

import math
from bisect import bisect_right

from omni_batch.catalogue import TokenRules
from omni_batch.catalogue.tokens import image_tokens
from omni_batch.changes import SoundChange

Px = tuple[int, int]
"""Width and height."""
_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Of MP3 (ISO 11172-3, 13818-3)."""
HIGHEST_HZ = 48_000
_MP3_BITS = (192_000, 128_000, 96_000, 64_000, 48_000, 32_000, 24_000, 16_000, 8_000)
_STEREO_BITS, _FULL_BITS, _LOW_HZ = 64_000, 48_000, 24_000
"""Below these bit rates MP3 has one channel, or a low sample rate."""
_WAV_BYTES = 7_000_000
"""A longer recording becomes an MP3: what is larger inline has to be uploaded (guide: 7 MB)."""
_HEADER_BYTES = 4096
_SPARE = 0.98


def within_tokens(size_px: Px, most: int, rules: TokenRules) -> Px:
    """The largest size of the same shape that takes so many tokens at most; never a larger one.

    The same size where none does: a narrow strip is enlarged before it is counted.
    """

    def tokens(width: int) -> int:
        return image_tokens(_at(width, size_px)[1], width, rules)

    if tokens(size_px[0]) <= most:
        return size_px
    width = bisect_right(range(1, size_px[0]), most, key=tokens)
    if width and tokens(width) <= most:
        return _at(width, size_px)
    # Of strips that round to no patch, smaller ones may count for more: all are tried.
    smaller = (width for width in range(size_px[0] - 1, 0, -1) if tokens(width) <= most)
    return _at(next(smaller, size_px[0]), size_px)


def within_area(size_px: Px, most_px2: float) -> Px:
    """The same shape with so many pixels at most; never a larger one."""
    width_px, height_px = size_px
    scale = math.sqrt(most_px2 / (width_px * height_px))
    if scale >= 1:
        return size_px
    return max(1, math.floor(width_px * scale)), max(1, math.floor(height_px * scale))


def at_least(size_px: Px, shorter_px: int | None) -> Px:
    """Enlarged where a side is too short."""
    if shorter_px is None or min(size_px) >= shorter_px:
        return size_px
    scale = shorter_px / min(size_px)
    width_px, height_px = (max(shorter_px, round(side * scale)) for side in size_px)
    return width_px, height_px


def even(size_px: Px) -> Px:
    """Both sides even, as most coders of video want them."""
    width_px, height_px = (max(2, side // 2 * 2) for side in size_px)
    return width_px, height_px


def _at(width: int, size_px: Px) -> Px:
    return width, max(1, round(size_px[1] * width / size_px[0]))


def seen_image_px2(rules: TokenRules) -> float:
    """Pixels of an image that the model sees at most."""
    return float(rules.image_max_tokens * rules.image_factor_px**2)


def seen_frame_px2(count: int, rules: TokenRules) -> float:
    """Pixels of each of so many frames that the model sees at most."""
    share = rules.video_total_patches / max(1, count) * rules.video_frames_per_token
    least = rules.video_min_patches * 1.05
    return float(max(min(rules.video_max_patches, share), least) * rules.image_factor_px**2)


def sound_form(seconds: float, rate_hz: int, channels: int, most_bytes: int | None) -> SoundChange:
    """WAV where it is small, else MP3 with as many bits as fit."""
    rate_hz, channels = min(rate_hz, HIGHEST_HZ), min(channels, 2)
    most = min(_WAV_BYTES, most_bytes or _WAV_BYTES)
    if seconds * rate_hz * channels * 2 + _HEADER_BYTES <= most:
        return SoundChange("wav", rate_hz, channels)
    budget = math.inf if most_bytes is None else most_bytes * _SPARE * 8 / max(seconds, 1)
    bits = next((bits for bits in _MP3_BITS[1:] if bits <= budget), _MP3_BITS[-1])
    if bits < _STEREO_BITS:
        channels = 1
    if bits < _FULL_BITS:
        rate_hz = min(rate_hz, _LOW_HZ)
    rate_hz = max((rate for rate in _RATES_HZ if rate <= rate_hz), default=_RATES_HZ[0])
    return SoundChange("mp3", rate_hz, channels, bits)
