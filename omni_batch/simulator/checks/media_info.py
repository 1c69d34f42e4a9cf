"""The facts of a medium that was decoded."""

from dataclasses import dataclass


class Undecodable(ValueError):
    """The bytes are not what they should be."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image."""

    width_px: int
    height_px: int
    colours: tuple[str, ...] = ()
    """Commonest colour first; empty when the pixels were not decoded."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A recording."""

    duration_s: float
    rate_hz: int
    channels: int
    loudness_db: float | None = None
    """RMS below full scale; None when it was not decoded."""
    pause_share: float = 0.0
    """Share of the time that is much quieter than the rest, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Film:
    """A video file."""

    duration_s: float
    """Of its pictures: the sound may be shorter or go on."""
    fps: float
    frame_count: int
    width_px: int
    height_px: int
    sound_s: float | None
    """How long its sound track plays; None without one."""
    colours: tuple[str, ...] = ()
    """Of the first frame."""


@dataclass(frozen=True, slots=True)
class Frames:
    """A video given as a list of pictures."""

    pictures: tuple[Picture, ...]
    fps: float | None


Medium = Picture | Sound | Film | Frames
