"""A decision: what a medium becomes, under which name it is kept, and what is said of it. Pure."""

import hashlib
from dataclasses import dataclass, replace

import msgspec

from omni_batch.changes import Change
from omni_batch.doubts import Doubt
from omni_batch.fitting.sizes import Px
from omni_batch.text import display_name
from omni_batch.types import Media

EDITION = 1
"""Of all that makes files: another one makes them anew."""
HAIR_S = 0.1
"""As of the rules: lengths differ by so much from reader to reader."""
_ANSWERED = ("several-pictures", "image-damaged", "video-edited", "format-guessed")
"""Doubts about a medium that don't hold for what is made of it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A medium that is to be changed."""

    medium: Media
    """As it was found."""
    change: Change
    becomes: tuple[Media, ...]
    """What will be sent, as far as it is known before it is made: one medium, the images of a
    list, or the windows of a recording in their order. The first one has the doubts."""

    @property
    def key(self) -> str:
        """Hash of what it is made from and how: whoever has the same gets the same files."""
        made = [EDITION, self.medium.sha256, self.change]
        return hashlib.sha256(msgspec.json.encode(made, order="deterministic")).hexdigest()

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """What is changed, what of it is lost, and what was odd before."""
        return self.becomes[0].doubts


def wanted(
    medium: Media, change: Change, becomes: tuple[Media, ...], doubts: tuple[Doubt, ...]
) -> Wanted:
    """A decision, its key and its doubts in what is sent."""
    key = Wanted(medium, change, becomes).key
    kept = tuple(doubt for doubt in medium.doubts if doubt.rule not in _ANSWERED)
    first, *others = (replace(each, made_from=key) for each in becomes)
    return Wanted(medium, change, (replace(first, doubts=(*kept, *doubts)), *others))


def anew(medium: Media, form: str, mime_type: str) -> Media:
    """What is sent in place of a medium, before its bytes are there."""
    return replace(
        medium,
        path=None,
        url=None,
        sha256=None,
        size_bytes=None,
        format=form,
        mime_type=mime_type,
        options=medium.options if medium.kind != "audio" else (),  # which only name its format
        traits=None,
        doubts=(),
    )


def changed(medium: Media, rule: str, reasons: list[str], sent: str) -> Doubt:
    """One text for `check`, the row and the report."""
    name = display_name(medium.reference)
    return Doubt(rule, f"{name} is changed to fit ({'; '.join(reasons)}) and sent as {sent}")


def above(value: float | None, limit: float | None) -> bool:
    """Whether a value breaks a limit; what is unknown breaks none."""
    return value is not None and limit is not None and value > limit


def px(size_px: Px) -> str:
    """As messages have it."""
    return f"{size_px[0]} x {size_px[1]} px"


def number(value: float) -> str:
    """As messages have it: 10,485,760 or 180.01."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.7g}"
