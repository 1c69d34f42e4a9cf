"""Rules on single media: size, length, shape, address. Pure.

A measure that is unknown (None, as of everything behind a URL) breaks nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter, gt, lt

from omni_batch.doubts import Doubt
from omni_batch.requests.rules.context import RuleContext, Violation, listed, number
from omni_batch.text import display_name, is_data_uri
from omni_batch.types import Media, MediaKind

_SCHEMES = ("http://", "https://", "oss://", "data:")
_SAME_CONTAINER = {"mp4": ("3gp", "mov")}  # one by content, several by name


@dataclass(frozen=True, slots=True)
class _Bound:
    """A limit of the catalogue on one measure of one kind of media."""

    rule: str
    kind: MediaKind
    limit: str
    measure: Callable[[Media], float | None]
    broken: Callable[[float, float], bool]
    message: str


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
    _Bound("audio-too-long", "audio", "audio_max_s", _seconds, gt, _TOO_LONG),
    _Bound("audio-too-large", "audio", "audio_max_bytes", _bytes, gt, _TOO_LARGE),
    _Bound("video-too-short", "video", "video_min_s", _seconds, lt, _TOO_SHORT),
    _Bound("video-too-long", "video", "video_max_s", _seconds, gt, _TOO_LONG),
    _Bound("video-too-large", "video", "video_max_bytes", _bytes, gt, _TOO_LARGE),
)


def _bounds(context: RuleContext) -> Iterator[Violation]:
    for media in context.request.media():
        for bound in _BOUNDS:
            if bound.kind == media.kind:
                yield from _check(bound, media, context)


def _check(bound: _Bound, media: Media, context: RuleContext) -> Iterator[Violation]:
    value, limit = bound.measure(media), context.limit(bound.limit)
    if value is None or limit is None or not bound.broken(value, limit):
        return
    message = bound.message.format(
        name=display_name(media.reference),
        value=number(value),
        limit=number(limit),
        model=context.name,
    )
    yield Violation(bound.rule, message, f"limits.{bound.limit}")


def _addresses(context: RuleContext) -> Iterator[Violation]:
    for media in context.request.media():
        name, url = display_name(media.reference), media.url
        if url is None:
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
    for media in context.request.media():
        known = () if media.kind == "image" else context.limit(f"{media.kind}_containers") or ()
        names = {media.format, *_SAME_CONTAINER.get(media.format, ())}
        # The format of a URL is read off its ending, which decides nothing.
        if known and media.path is not None and names.isdisjoint(known):
            yield Doubt(
                "container-not-documented",
                f"{display_name(media.reference)} is {media.format}; {context.name} is documented "
                f"for {listed(known)}: it may be refused",
            )


RULES = (_addresses, _bounds, _containers)
