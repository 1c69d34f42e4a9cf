"""How much of a video is there, against what its header says."""

from pathlib import Path
from typing import Any

import av

from omni_batch.fitting.codecs.streams import Losses, PictureTimes, opened, picture_times, pictures

_WHOLE = 0.97
"""Share of the time that must be there, or the video counts as damaged."""
_LATE_S = 0.5
_STATES_LENGTH = ("matroska", "mov", "flv", "asf")
"""FFmpeg's names of containers that have a length in their header; of others it is guessed."""


def stated_times(path: Path) -> tuple[PictureTimes, float]:
    """Times of all pictures that the file has, and how long they should be: longer, where the file
    says that there is more of it than there is."""
    with opened(path) as container:
        stream = pictures(container)
        said_s = stated_s(container) or 0.0
        times = picture_times(container, stream)
        return times, said_s if times.there_s < said_s * _WHOLE - 1.0 else times.seconds


def stated_s(container: Any) -> float | None:
    """How long the file says that it is, sound included.

    Matroska counts from 0, where its clock begins later as well.
    """
    name = container.format.name.partition(",")[0]
    if name == "avi":  # FFmpeg corrects its length by what is there, but not its count of pictures
        stream = pictures(container)
        return float(stream.frames / stream.average_rate) if stream.average_rate else None
    if name not in _STATES_LENGTH or not container.duration:
        return None
    said_s, late_s = container.duration / av.time_base, (container.start_time or 0) / av.time_base
    return float(said_s - late_s if late_s > _LATE_S and said_s > late_s else said_s)


def damage(
    there_s: float, expected_s: float, losses: Losses, end_s: float | None = None
) -> tuple[tuple[str, str], ...]:
    """What is to be said where some of it is missing; nothing where all is there, up to `end_s`."""
    wanted_s = expected_s if end_s is None else min(end_s, expected_s)
    if there_s < wanted_s * _WHOLE - 1.0:
        what = damaged(there_s, expected_s)
    elif losses.pieces:
        what = f"is damaged: {losses.pieces:,} of its pieces can't be decoded"
    else:
        return ()
    return (("video-damaged", f"{{name}} {what}; what is whole is sent"),)


def damaged(there_s: float, expected_s: float) -> str:
    """What happened to it, without its name."""
    return f"is cut off or damaged: of {expected_s:.1f} s only {there_s:.1f} s can be decoded"
