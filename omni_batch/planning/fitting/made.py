"""PreparedItem → the same with media that are there: what was to be made is made."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

from omni_batch.doubts import Doubt
from omni_batch.fitting.cache import Kept
from omni_batch.fitting.decisions import Wanted
from omni_batch.planning.fitting.limits import fit_limits
from omni_batch.planning.fitting.turns import replaced
from omni_batch.planning.media_source import MediaSource
from omni_batch.planning.plan import Plan
from omni_batch.planning.prepared_item import PreparedItem, judged, with_window
from omni_batch.text import display_name
from omni_batch.types import Media

_WHOLE = 0.97
"""Share of the length that must come out, or the recording counts as damaged."""


@asynccontextmanager
async def made_item(
    plan: Plan, source: MediaSource, prepared: PreparedItem
) -> AsyncIterator[PreparedItem]:
    """An item that can be sent; the files made for it are there until the block ends.

    Raises:
        MediaError: a medium can't be changed.
        InvalidRequest: what came of it still breaks rules.
        StorageError: nothing can be written.
    """
    if source.fitter is None or not prepared.wanted:
        yield prepared
        return
    async with source.fitter.made(prepared.wanted) as kept:
        media = {
            wanted.key: tuple(_media(wanted, each))
            for wanted, each in zip(prepared.wanted, kept, strict=True)
        }
        yield _with_media(plan, prepared, media)


def each_window(plan: Plan, prepared: PreparedItem) -> Iterator[tuple[Media, PreparedItem]]:
    """The windows of an item, each as an item of its own."""
    for window in prepared.windows:
        request = with_window(prepared, window)
        yield window, judged(plan, replace(prepared, request=request, windows=()))


def _with_media(
    plan: Plan, prepared: PreparedItem, media: dict[str, tuple[Media, ...]]
) -> PreparedItem:
    turns = replaced(prepared.request.messages, media, fit_limits(plan))
    windows = prepared.windows
    if windows:
        options = windows[0].options
        made = media[windows[0].made_from or ""]
        windows = tuple(replace(window, options=options) for window in made)
    request = replace(prepared.request, messages=tuple(turns))
    return judged(plan, replace(prepared, request=request, windows=windows))


def _media(wanted: Wanted, kept: Kept) -> Iterator[Media]:
    """The files of a change as media; the first one has the doubts."""
    plain, several = wanted.becomes[0], len(wanted.becomes) > 1
    doubts = (*wanted.doubts, *_found(wanted, kept))
    for file in kept.made.files:
        yield replace(
            plain,
            path=kept.folder / file.name,
            format=file.format,
            mime_type=file.mime_type,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            width_px=file.width_px,
            height_px=file.height_px,
            duration_s=file.duration_s,
            sound_s=file.duration_s if file.has_sound and plain.kind == "video" else None,
            frames_per_s=file.frames_per_s,
            has_sound=file.has_sound,
            begin_s=file.begin_s if several and plain.kind == "audio" else None,
            duration_guessed=False,
            doubts=doubts,
        )
        doubts = ()


def _found(wanted: Wanted, kept: Kept) -> Iterator[Doubt]:
    """What only showed while it was made."""
    name = display_name(wanted.medium.reference)
    for rule, message in kept.made.doubts:
        yield Doubt(rule, message.replace("{name}", name))
    medium, files = wanted.medium, kept.made.files
    expected_s = 0.0 if medium.duration_guessed else medium.duration_s or 0.0
    made_s = max(file.begin_s + (file.duration_s or 0.0) for file in files)
    if medium.kind == "audio" and made_s < expected_s * _WHOLE - 1:
        message = f"of the {expected_s:.1f} s of {name} only {made_s:.1f} s can be decoded"
        yield Doubt("sound-damaged", f"{message}; what is whole is sent")
