"""What a recording becomes. Pure."""

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from omni_batch.changes import SoundChange, SoundTraits
from omni_batch.doubts import Doubt
from omni_batch.fitting.decisions.wanted import (
    HAIR_S,
    Wanted,
    above,
    anew,
    changed,
    number,
    wanted,
)
from omni_batch.fitting.limits import FitLimits
from omni_batch.fitting.sizes import HIGHEST_HZ, sound_form
from omni_batch.fitting.windows import even_windows
from omni_batch.text import display_name
from omni_batch.types import Media

_WINDOW_SPARE_S = 0.5
"""A window is so much shorter than the limit: coders pad, and readers round."""
_WHOLE = 0.97
"""Share of the stated length that must be there."""
_MIME_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}


def fit_sound(medium: Media, traits: SoundTraits, limits: FitLimits) -> Wanted | None:
    """What a recording has to become; None where it can go as it is."""
    seconds = medium.duration_s or 0.0
    too_long = limits.sound_max_s is not None and seconds > limits.sound_max_s + HAIR_S
    reasons = _form_of_sound(medium, traits, limits)
    if not reasons and not too_long:
        return None
    if too_long:
        return _windows(medium, traits, reasons, limits)
    change = _sound_change(seconds, traits, limits)
    becomes = anew(medium, change.form, _MIME_TYPES[change.form])
    doubt = changed(medium, "sound-fitted", [*reasons, *_mixed(traits)], _sound_in_words(change))
    return wanted(medium, change, (becomes,), (doubt, *_cut_off(medium, traits)))


def _cut_off(medium: Media, traits: SoundTraits) -> Iterator[Doubt]:
    there_s, stated_s = medium.duration_s or 0.0, traits.stated_s or 0.0
    if not medium.duration_guessed and there_s < stated_s * _WHOLE - 1:
        message = (
            f"of the {number(stated_s)} s of {display_name(medium.reference)} only "
            f"{number(there_s)} s are there; what is whole is sent"
        )
        yield Doubt("sound-damaged", message)


def _form_of_sound(medium: Media, traits: SoundTraits, limits: FitLimits) -> list[str]:
    found = []
    if limits.sound_formats is not None and medium.format not in limits.sound_formats:
        found.append(f"{medium.format} turned into another format")
    if traits.rate_hz > HIGHEST_HZ:
        found.append(f"{number(traits.rate_hz)} samples a second made {number(HIGHEST_HZ)}")
    if traits.channels > 2 and not limits.keeps_channels:
        found.append(f"{traits.channels} channels")
    if above(medium.size_bytes, limits.sound_max_bytes):
        found.append(f"{number(medium.size_bytes or 0)} bytes made fewer")
    return found


def _mixed(traits: SoundTraits) -> list[str]:
    mixed = [f"{traits.channels} channels mixed into 2, all but LFE"]
    tracks = [f"the first of {traits.tracks} tracks, which players take as well"]
    return [*(mixed if traits.channels > 2 else ()), *(tracks if traits.tracks > 1 else ())]


def _sound_change(seconds: float, traits: SoundTraits, limits: FitLimits) -> SoundChange:
    return sound_form(seconds, traits.rate_hz, traits.channels, limits.sound_max_bytes)


def _sound_in_words(change: SoundChange) -> str:
    return f"{change.form} of {number(change.rate_hz)} Hz"


def _windows(medium: Media, traits: SoundTraits, reasons: list[str], limits: FitLimits) -> Wanted:
    seconds = medium.duration_s or 0.0
    longest_s = max(1.0, (limits.sound_max_s or seconds) - _WINDOW_SPARE_S)
    change = msgspec.structs.replace(
        _sound_change(longest_s, traits, limits), window_s=longest_s, overlap_s=limits.overlap_s
    )
    plain = anew(medium, change.form, _MIME_TYPES[change.form])
    lengths = even_windows(seconds, longest_s, limits.overlap_s)
    becomes = tuple(
        replace(plain, duration_s=length_s, begin_s=begin_s) for begin_s, length_s in lengths
    )
    what = f"{number(seconds)} s in windows of at most {number(longest_s)} s"
    doubt = changed(
        medium, "sound-in-windows", [*reasons, *_mixed(traits), what], _sound_in_words(change)
    )
    return wanted(medium, change, becomes, (doubt, *_cut_off(medium, traits)))
