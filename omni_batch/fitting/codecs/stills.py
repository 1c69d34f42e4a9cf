"""A video as still images, spread evenly over its time, by its own clock."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import av
import msgspec

from omni_batch.changes import StillsChange
from omni_batch.errors import MediaError
from omni_batch.fitting.codecs.damage import damage, damaged, stated_times
from omni_batch.fitting.codecs.files import written
from omni_batch.fitting.codecs.picture import encode_jpeg
from omni_batch.fitting.codecs.shape import Shaper
from omni_batch.fitting.codecs.streams import Losses, PictureTimes, opened, pictures, shown
from omni_batch.fitting.made import Made, MadeFile

_LEAST = 2
_HAIR_S = 1e-3
_QUALITY = 80
_WORTH_SKIPPING_S = 5.0
"""So much of a video is rather skipped than decoded, where a whole picture lies behind it."""


class _BadSeek(Exception):
    """The file led to a later place than was asked for."""


def make_stills(path: Path, folder: Path, change: StillsChange) -> Made:
    """Still images of a video, from its first picture to its last.

    Raises:
        MediaError: too little of it can be decoded.
        av.FFmpegError: it can't be opened.
    """
    times, expected_s = stated_times(path)
    found = _stills(path, folder, change, times, times.seconds)
    if len(found.files) < change.count:  # the end can't be decoded: what is there is spread anew
        found = _stills(path, folder, change, times, found.last_s)
    while (size_px := found.smallest_px) != found.largest_px:  # all of a list have one size
        smaller = msgspec.structs.replace(change, width_px=size_px[0], height_px=size_px[1])
        found = _stills(path, folder, smaller, times, found.last_s)
    if len(found.files) < _LEAST:
        raise MediaError(damaged(found.last_s, expected_s))
    return Made(tuple(found.files), damage(found.last_s, expected_s, found.losses))


class _Found(NamedTuple):
    """One file for each time that the pictures reach."""

    files: list[MadeFile]
    last_s: float
    """Time of the last picture that was decoded."""
    losses: Losses

    @property
    def smallest_px(self) -> tuple[int, int]:
        """Width and height; images that have too many bytes are made smaller than the others."""
        return min(self._sizes_px, default=(0, 0))

    @property
    def largest_px(self) -> tuple[int, int]:
        """The same of the largest one."""
        return max(self._sizes_px, default=(0, 0))

    @property
    def _sizes_px(self) -> list[tuple[int, int]]:
        return [(file.width_px or 0, file.height_px or 0) for file in self.files]


def _stills(
    path: Path, folder: Path, change: StillsChange, times: PictureTimes, seconds: float
) -> _Found:
    wanted = [seconds * place / max(1, change.count - 1) for place in range(change.count)]
    try:
        return _taken(path, folder, change, times, wanted)
    except (_BadSeek, av.FFmpegError):
        return _taken(path, folder, change, replace(times, whole=[]), wanted)


def _taken(
    path: Path,
    folder: Path,
    change: StillsChange,
    times: PictureTimes,
    wanted: Sequence[float],
) -> _Found:
    shape = Shaper((change.width_px, change.height_px), "rgb24")
    files: list[MadeFile] = []
    begin_s = times.all[0] if times.all else 0.0
    with opened(path) as source:
        player = _Player(source, times.whole)
        for at_s in wanted:
            frame = player.shown_at(begin_s + at_s)
            if frame is None:
                break
            data, image = encode_jpeg(shape(frame).to_image(), change.max_bytes, _QUALITY)
            name = folder / f"{len(files):04}.jpg"
            kind = "jpeg", "image/jpeg"
            files.append(written(name, data, *kind, size_px=image.size, begin_s=at_s))
        return _Found(files, max(0.0, player.last_s - begin_s), player.losses)


class _Player:
    """Goes forward through the pictures of a file.

    Args:
        whole: times from which it can be decoded; what lies between may be skipped.
    """

    def __init__(self, source: Any, whole: Sequence[float]) -> None:
        self._source, self._whole = source, whole
        self._stream = pictures(source)
        self.losses = Losses()
        self._frames = shown(source, self.losses)
        self._shown: tuple[float, Any] | None = None
        self._next: tuple[float, Any] | None = None
        self.last_s = 0.0
        """Time of the last picture that was decoded."""

    def shown_at(self, at_s: float) -> Any:
        """The picture that is shown at a time not before the last one; None behind the end.

        Raises:
            _BadSeek: it was skipped over.
        """
        self._skip_to(at_s)
        while self._next is None or self._next[0] <= at_s + _HAIR_S:
            self._shown = self._next or self._shown
            self._next = next(self._frames, None)
            if self._next is None:
                return self._picture if at_s <= self.last_s + _HAIR_S else None
            self.last_s = max(self.last_s, self._next[0])
        if self._shown is None and self._next[0] > at_s + _WORTH_SKIPPING_S:
            raise _BadSeek
        return self._picture or self._next[1]

    @property
    def _picture(self) -> Any:
        return self._shown[1] if self._shown else None

    def _skip_to(self, at_s: float) -> None:
        place = bisect_right(self._whole, at_s + _HAIR_S) - 1
        if place < 0 or self._shown is None:
            return
        target_s, tick = self._whole[place], self._stream.time_base
        if tick is None or target_s - max(self._shown[0], self.last_s) < _WORTH_SKIPPING_S:
            return
        self._source.seek(int(target_s / tick), stream=self._stream)
        self._frames = shown(self._source, self.losses)
        self._shown = self._next = None
