"""The facts of a medium that was decoded."""

from dataclasses import dataclass
from typing import Literal


class Undecodable(ValueError):
    """The bytes are not what they should be."""


Failure = Literal["missing", "denied", "slow", "unreachable", "down", "mistyped"]
"""Why a download failed: 404, 403, no answer in time, no server, 503, a wrong Content-Type."""


class NotDownloaded(Exception):
    """A medium behind a URL can't be had; each server has words of its own for it."""

    def __init__(self, url: str, why: Failure) -> None:
        super().__init__(url)
        self.url, self.why = url, why


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
