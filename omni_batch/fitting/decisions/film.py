"""What a video becomes: a video that every decoder shows, or a list of still images. Pure."""

from dataclasses import replace

from omni_batch.changes import FilmChange, FilmTraits, StillsChange
from omni_batch.doubts import Doubt
from omni_batch.fitting.decisions.wanted import (
    HAIR_S,
    Wanted,
    above,
    anew,
    changed,
    number,
    px,
    wanted,
)
from omni_batch.fitting.limits import FitLimits
from omni_batch.fitting.sizes import at_least, even, seen_frame_px2, within_area
from omni_batch.text import display_name
from omni_batch.types import Media

_SPARE_S = 0.1
"""A video is cut so much below the limit: coders pad its sound."""
_LATE_S = 0.5
_WHOLE = 0.97
"""Share of the stated length that must be there: containers round, and end with their sound."""
_FPS = (0.1, 10.0)
"""Range of `fps` (chat reference, 2026)."""


def fit_film(medium: Media, traits: FilmTraits, limits: FitLimits) -> Wanted | None:
    """What a video has to become; None where it can go as it is."""
    seconds = medium.duration_s or 0.0
    too_long = limits.film_max_s is not None and seconds > limits.film_max_s + HAIR_S
    least_s = limits.film_min_s if limits.takes_frames else None
    too_short = least_s is not None and 0 < seconds < least_s - HAIR_S
    reasons = _looks(medium, traits)
    if too_short or (too_long and limits.film_as == "frames"):
        most_s = limits.film_min_s if too_short else limits.film_max_s
        limit = (
            f"{number(seconds)} s, {'at least' if too_short else 'at most'} {number(most_s or 0)}"
        )
        return _stills(medium, traits, [*reasons, limit], limits)
    reasons += _container(medium, traits, limits)
    if not reasons and not too_long:
        return None
    return _film_anew(medium, traits, reasons, limits)


def _looks(medium: Media, traits: FilmTraits) -> list[str]:
    """What is wrong with its pictures, whatever they are sent in."""
    damage = _damage(medium, traits)
    found = {
        "turned upright": not traits.upright,
        "pixels turned into 8 bits": not traits.plain_pixels,
        "pixels made square": traits.pixel_ratio != 1.0,
        f"a clock that begins at {number(traits.begins_s)} s": traits.begins_s > _LATE_S,
        damage: bool(damage),
    }
    return [what for what, is_so in found.items() if is_so]


def _container(medium: Media, traits: FilmTraits, limits: FitLimits) -> list[str]:
    """What is wrong with it as a video."""
    size_px = (traits.width_px, traits.height_px)
    found = {
        "odd sides made even": even(size_px) != size_px,
        f"{medium.format} turned into mp4": limits.film_formats is not None
        and medium.format not in limits.film_formats,
        f"{number(medium.size_bytes or 0)} bytes made fewer": above(
            medium.size_bytes, limits.film_max_bytes
        ),
    }
    return [what for what, is_so in found.items() if is_so]


def _damage(medium: Media, traits: FilmTraits) -> str:
    """That a part of it is missing; "" where nothing is known of that."""
    there_s = max(medium.duration_s or 0.0, medium.sound_s or 0.0)
    stated_s = traits.stated_s or 0.0
    if there_s < stated_s * _WHOLE - 1:
        return f"cut off: {number(there_s)} of {number(stated_s)} s are there"
    cut = any(doubt.rule == "media-cut-off" for doubt in medium.doubts)
    return "cut off: what is there is made whole" if cut else ""


def _film_anew(medium: Media, traits: FilmTraits, reasons: list[str], limits: FitLimits) -> Wanted:
    size_px = even(within_area(traits.shown_px, seen_frame_px2(1, limits.rules)))
    if size_px != traits.shown_px:
        reasons = [*reasons, f"{px(traits.shown_px)} scaled to {px(size_px)}"]
    end_s = _end_s(medium, traits, limits)
    seconds = medium.duration_s
    doubts = [changed(medium, "video-fitted", reasons or ["cut"], "mp4")]
    if seconds and end_s and end_s < seconds:
        doubts.append(_left_out(medium, seconds, end_s))
        seconds = end_s
    becomes = replace(
        anew(medium, "mp4", "video/mp4"),
        width_px=size_px[0],
        height_px=size_px[1],
        duration_s=seconds,
        sound_s=seconds if medium.has_sound else None,
        frame_count=None,
    )
    change = FilmChange(*size_px, end_s, limits.film_max_bytes)
    return wanted(medium, change, (becomes,), tuple(doubts))


def _end_s(medium: Media, traits: FilmTraits, limits: FitLimits) -> float | None:
    """Where it is cut; of one that is damaged, more may be found than was measured."""
    seconds = max(medium.duration_s or 0.0, traits.stated_s or 0.0)
    if limits.film_max_s is None or seconds <= limits.film_max_s + HAIR_S:
        return None
    return limits.film_max_s - _SPARE_S


def _left_out(medium: Media, seconds: float, end_s: float) -> Doubt:
    message = (
        f"only the first {number(end_s)} s of the {number(seconds)} s of "
        f"{display_name(medium.reference)} are sent: set media.fit_video: frames for all of it, "
        "without sound"
    )
    return Doubt("video-cut", message)


def _stills(medium: Media, traits: FilmTraits, reasons: list[str], limits: FitLimits) -> Wanted:
    seconds = medium.duration_s or 0.0
    count = _frame_count(medium, limits)
    size_px = at_least(
        within_area(traits.shown_px, seen_frame_px2(count, limits.rules)), limits.image_min_px
    )
    each_bytes = limits.stills_max_bytes and limits.stills_max_bytes // count
    change = StillsChange(*size_px, count, each_bytes)
    still = replace(
        anew(medium, "jpeg", "image/jpeg"),
        kind="image",
        width_px=size_px[0],
        height_px=size_px[1],
        duration_s=None,
        sound_s=None,
        frames_per_s=None,
        frame_count=None,
        has_sound=False,
        options=(),
    )
    sent = f"{count} frames spread over its time, {px(size_px)}"
    doubts = [changed(medium, "video-fitted", reasons, sent)]
    if medium.has_sound:
        message = f"the sound of {display_name(medium.reference)} is not sent with its frames"
        remedy = f"{message}: set media.fit_video: cut to send its beginning with sound"
        doubts.append(Doubt("sound-left-out", remedy if seconds > 2 else message))
    return wanted(medium, change, (still,) * count, tuple(doubts))


def _frame_count(medium: Media, limits: FitLimits) -> int:
    """Two a second, or as the row wants it; no more than there are, or may be."""
    fps = dict(medium.options).get("fps")
    per_s = float(fps) if fps else limits.rules.video_sample_fps
    wanted = round((medium.duration_s or 0.0) * per_s)
    most = min(n for n in (wanted, limits.frames_max, medium.frame_count) if n is not None)
    return max(limits.frames_min, most // 2 * 2)


def spacing(seconds: float, count: int) -> float | None:
    """Frames a second of a list that covers so much time; None where no request can say it."""
    fps = (count - 1) / seconds if seconds > 0 else 0.0
    return round(fps, 3) if _FPS[0] <= fps <= _FPS[1] else None
