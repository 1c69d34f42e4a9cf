"""What media have to keep to, as far as they can be changed for it. Pure values."""

from dataclasses import dataclass
from typing import Literal

from omni_batch.catalogue import TokenRules


@dataclass(frozen=True, slots=True, kw_only=True)
class FitLimits:
    """The strictest of all endpoints that a row may go to. None: no limit is known."""

    rules: TokenRules
    """How tokens are counted: what is larger than the model sees need not be sent."""
    max_image_tokens: int | None = None
    image_formats: tuple[str, ...] | None = None
    image_max_bytes: int | None = None
    image_min_px: int | None = None
    sound_formats: tuple[str, ...] | None = None
    sound_max_bytes: int | None = None
    sound_max_s: float | None = None
    keeps_channels: bool = False
    """The model hears more than two channels."""
    overlap_s: float = 2.0
    film_formats: tuple[str, ...] | None = None
    film_max_bytes: int | None = None
    film_min_s: float | None = None
    film_max_s: float | None = None
    film_as: Literal["frames", "cut"] = "frames"
    """What becomes of a video that is too long."""
    takes_frames: bool = True
    frames_min: int = 2
    frames_max: int | None = None
    stills_max_bytes: int | None = None
    """Of all images of a list together."""
    takes_spacing: bool = False
    """The model is told how far apart the frames of a list are (`fps`)."""
