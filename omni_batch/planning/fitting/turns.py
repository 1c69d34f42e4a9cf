"""Turns with media as they were found → turns with what will be sent in their place. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from omni_batch.doubts import Doubt
from omni_batch.fitting.decisions import Wanted, decide, spacing
from omni_batch.fitting.limits import FitLimits
from omni_batch.text import display_name
from omni_batch.types import Frames, Media, Message, Part


@dataclass(slots=True)
class FittedTurns:
    """What has to change in the turns of one item."""

    limits: FitLimits
    windows: Wanted | None = None
    """The recording that is sent in windows; one of an item at most."""
    wanted: dict[str, Wanted] = field(default_factory=dict)
    """All that has to be made, by its key."""

    def turns(self, messages: Sequence[Message]) -> list[Message]:
        """The same turns with other media in place of those that don't fit."""
        *earlier, last = messages
        return [
            *(self._turn(turn, last=False) for turn in earlier),
            self._turn(last, last=True),
        ]

    def _turn(self, turn: Message, *, last: bool) -> Message:
        return replace(turn, parts=tuple(self._part(part, last=last) for part in turn.parts))

    def _part(self, part: Part, *, last: bool) -> Part:
        match part:
            case Media():
                return self._medium(part, last=last)
            case Frames():
                return self._frames(part)
        return part

    def _medium(self, medium: Media, *, last: bool) -> Media | Frames:
        wanted = decide(medium, self.limits)
        if wanted is None:
            return medium
        if wanted.becomes[0].kind != medium.kind:
            self.wanted[wanted.key] = wanted
            return stills(wanted.becomes, medium, self.limits)
        if len(wanted.becomes) > 1:
            if self.windows is not None or not last:
                return medium  # which the rules refuse: it is too long
            self.windows = wanted
        self.wanted[wanted.key] = wanted
        return wanted.becomes[0]

    def _frames(self, frames: Frames) -> Frames:
        images = _thinned(frames.images, self.limits.frames_max)
        limits = replace(self.limits, max_image_tokens=None)
        found = [(image, decide(image, limits)) for image in images]
        self.wanted.update((each.key, each) for _, each in found if each)
        fitted = (each.becomes[0] if each else image for image, each in found)
        return replace(frames, images=tuple(fitted))


def stills(images: tuple[Media, ...], video: Media, limits: FitLimits) -> Frames:
    """The frame list in place of a video."""
    options = {name: value for name, value in video.options if name != "fps"}
    if limits.takes_spacing and (fps := spacing(video.duration_s or 0.0, len(images))):
        options["fps"] = fps
    return Frames(images, tuple(sorted(options.items())), taken_from=video)


def _thinned(images: tuple[Media, ...], most: int | None) -> tuple[Media, ...]:
    """As many frames as may be, evenly out of all."""
    if most is None or len(images) <= most:
        return images
    step = (len(images) - 1) / (most - 1)
    first, *others = (images[round(place * step)] for place in range(most))
    name = display_name(first.reference)
    message = f"the list of {len(images)} frames from {name} on has {most} left: spread evenly"
    return (replace(first, doubts=(*first.doubts, Doubt("frames-left-out", message))), *others)


def replaced(
    messages: Iterable[Message], made: dict[str, tuple[Media, ...]], limits: FitLimits
) -> list[Message]:
    """Turns with media that are there now, in place of those that were wanted.

    Args:
        made: by their keys.
    """

    def part_of(part: Part) -> Part:
        match part:
            case Media(made_from=str(key)):
                return replace(made[key][0], options=part.options)
            case Frames(taken_from=Media() as video, images=images):
                found = made[str(images[0].made_from)]
                return replace(stills(found, video, limits), taken_from=video)
            case Frames(images=images):
                there = (made[i.made_from][0] if i.made_from else i for i in images)
                return replace(part, images=tuple(there))
        return part

    return [replace(turn, parts=tuple(part_of(part) for part in turn.parts)) for turn in messages]
