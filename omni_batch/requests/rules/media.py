"""Rules on single media: size, length, shape, address. Pure.

A measure that is unknown (None, as of everything behind a URL) breaks nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter, gt, lt

from omni_batch.catalogue.tokens import assumed_size
from omni_batch.doubts import Doubt
from omni_batch.requests.rules.context import Finding, RuleContext, Violation, listed, number
from omni_batch.text import display_name, is_data_uri
from omni_batch.types import Media, MediaKind

_SCHEMES = ("http://", "https://", "oss://", "data:")
_HAIR_S = 0.1
"""Lengths of a file differ by so much from reader to reader: encoders pad, containers round."""
_DIFFER_S = 1.0
_4K_PIXELS = 3840 * 2160
_ABOVE_4K = ("jpeg", "png")  # guide to visual understanding, 2026


@dataclass(frozen=True, slots=True)
class _Bound:
    """A limit of the catalogue on one measure of one kind of media."""

    rule: str
    kind: MediaKind
    limit: str
    measure: Callable[[Media], float | None]
    broken: Callable[[float, float], bool]
    message: str
    hair: float = 0.0
    """A value so near to the limit is doubted, not refused."""


def _shorter_px(media: Media) -> int | None:
    if media.width_px is None or media.height_px is None:
        return None
    return min(media.width_px, media.height_px)


def _ratio(media: Media) -> float | None:
    shorter_px, sides_px = _shorter_px(media), (media.width_px or 0, media.height_px or 0)
    return max(sides_px) / shorter_px if shorter_px and shorter_px > 0 else None


_TOO_SMALL = "{name} has a side of {value} px; {model} takes {limit} px at least: enlarge it"
_TOO_NARROW = "{name} has sides of {value} to 1; {model} takes {limit} to 1 at most: crop it"
_TOO_SHORT = "{name} lasts {value} s; {model} takes {limit} s at least: send its frames instead"
_TOO_LONG = "{name} lasts {value} s; {model} takes {limit} s at most: shorten it or cut it up"
_TOO_LARGE = "{name} has {value} bytes; {model} takes {limit} at most: make it smaller"
_seconds, _bytes = attrgetter("duration_s"), attrgetter("size_bytes")
_BOUNDS = (
    _Bound("image-too-small", "image", "image_min_px", _shorter_px, lt, _TOO_SMALL),
    _Bound("image-too-narrow", "image", "image_max_ratio", _ratio, gt, _TOO_NARROW),
    _Bound("image-too-large", "image", "image_max_bytes", _bytes, gt, _TOO_LARGE),
    _Bound("audio-too-long", "audio", "audio_max_s", _seconds, gt, _TOO_LONG, _HAIR_S),
    _Bound("audio-too-large", "audio", "audio_max_bytes", _bytes, gt, _TOO_LARGE),
    _Bound("video-too-narrow", "video", "image_max_ratio", _ratio, gt, _TOO_NARROW),
    _Bound("video-too-short", "video", "video_min_s", _seconds, lt, _TOO_SHORT, _HAIR_S),
    _Bound("video-too-long", "video", "video_max_s", _seconds, gt, _TOO_LONG, _HAIR_S),
    _Bound("video-too-large", "video", "video_max_bytes", _bytes, gt, _TOO_LARGE),
)


def _bounds(context: RuleContext) -> Iterator[Finding]:
    for media in context.media:
        for bound in _BOUNDS:
            if bound.kind == media.kind:
                yield from _check(bound, media, context)


def _check(bound: _Bound, media: Media, context: RuleContext) -> Iterator[Finding]:
    value, limit = bound.measure(media), context.limit(bound.limit)
    if value is None or limit is None or not bound.broken(value, limit):
        return
    message = bound.message.format(
        name=display_name(media.reference),
        value=number(value),
        limit=number(limit),
        model=context.name,
    )
    if bound.measure is _seconds and media.duration_guessed:
        yield Doubt(bound.rule, f"{message} (its length is a guess)")
    elif round(abs(value - limit), 6) < bound.hair:
        yield Doubt(bound.rule, f"{message} (lengths are measured to {_HAIR_S:g} s: it is sent)")
    else:
        yield Violation(bound.rule, message, f"limits.{bound.limit}")


def _sound_of_videos(context: RuleContext) -> Iterator[Doubt]:
    """Limits are held against the pictures, as the published code counts them."""
    limit = context.limit("video_max_s")
    for media in context.media:
        pictures_s, sound_s = media.duration_s, media.sound_s
        if media.kind != "video" or media.duration_guessed or not pictures_s or not sound_s:
            continue
        name = display_name(media.reference)
        lengths = f"the pictures of {name} last {number(pictures_s)} s, its sound {number(sound_s)}"
        if limit is not None and pictures_s <= limit + _HAIR_S < sound_s:
            message = (
                f"{lengths} s; {context.name} takes {number(limit)} s at most, perhaps of both"
            )
            yield Doubt("video-too-long", message)
        elif abs(sound_s - pictures_s) > max(_DIFFER_S, pictures_s / 10):
            yield Doubt("video-lengths-differ", f"{lengths} s: each is counted by its own length")


def _addresses(context: RuleContext) -> Iterator[Violation]:
    for media in context.media:
        name, url = display_name(media.reference), media.url
        if url is None or media.object_version is not None:
            continue
        if is_data_uri(url):
            yield from _data_uri(name, url, context)
        elif not url[:8].lower().startswith(_SCHEMES):
            yield Violation("url-form", f"{name} is not a URL: use http(s)://, oss:// or data:")


def _data_uri(name: str, url: str, context: RuleContext) -> Iterator[Violation]:
    if not url.partition(",")[0].endswith(";base64"):
        yield Violation("data-uri-form", f"{name} is not base64: use data:…;base64,…")
    caps = (context.limit("data_uri_max_bytes"), context.server.inline_max_bytes)
    cap = min((cap for cap in caps if cap is not None), default=None)
    if cap is not None and len(url) > cap:
        yield Violation(
            "data-uri-too-large",
            f"{name} takes {len(url):,} bytes; the limit is {cap:,}: use an http(s) URL, or make "
            "it smaller",
        )


def _containers(context: RuleContext) -> Iterator[Doubt]:
    for media in context.media:
        known = context.limit(f"{media.kind}_containers") or ()
        name = display_name(media.reference)
        # The format of a URL nobody looked at is read off its ending, which decides nothing.
        if known and media.probed and media.format not in known:
            yield Doubt(
                "container-not-documented",
                f"{name} is {media.format}; {context.name} is documented for {listed(known)}: it "
                "may be refused",
            )
        elif media.kind == "image" and known and _above_4k(media):
            yield Doubt(
                "image-large-for-its-format",
                f"{name} has {media.width_px} x {media.height_px} pixels as {media.format}; above "
                f"4K the vendor documents {listed(_ABOVE_4K)}: it may be refused",
            )


def _above_4k(media: Media) -> bool:
    pixels = (media.width_px or 0) * (media.height_px or 0)
    return media.format not in _ABOVE_4K and pixels > _4K_PIXELS


def _formats_of_server(context: RuleContext) -> Iterator[Finding]:
    for media in context.media:
        if (message := context.server.refused_format(media)) is None:
            continue
        if media.probed:
            yield Violation("format-not-taken", message)
        else:
            yield Doubt("format-not-taken", f"{message} (by its name: nobody looked into it)")


def _guessed(context: RuleContext) -> Iterator[Doubt]:
    unknown = [(media, size) for media in context.media if (size := assumed_size(media))]
    if unknown:
        first, size = unknown[0]
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        name = f"{display_name(first.reference)}{more}"
        yield Doubt("media-size-guessed", f"{name}: the size is unknown and counted as {size}")


def _oddities(context: RuleContext) -> Iterator[Doubt]:
    for media in context.media:
        yield from media.doubts


RULES = (
    *(_addresses, _bounds, _sound_of_videos, _containers, _formats_of_server),
    *(_guessed, _oddities),
)
