"""Samples of a recording: every channel is kept but LFE, and so is the clock of the file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from omni_batch.fitting.codecs.streams import decoded, opened, sound

Samples = NDArray[np.float32]
"""Channels by time, from -1 to 1."""
LAYOUTS = {1: "mono", 2: "stereo"}
"""FFmpeg's names by the number of channels."""
_GAP_S = 0.1
"""So far a time stamp may be ahead of the samples before it is a hole in the recording."""
_LONGEST_GAP_S = 24 * 3600.0
_PIECE_S = 1.0
_BESIDE = 0.7
"""How loud a channel of the side or the back is mixed in."""


def samples_of(
    path: Path,
    rate_hz: int,
    channels: int,
    end_s: float | None = None,
    begin_s: float | None = None,
) -> Iterator[Samples]:
    """The recording in pieces, without holes.

    Args:
        end_s: seconds from its beginning, from where on it may be left out.
        begin_s: where it begins by the file's clock; None: with its first sample.

    Raises:
        av.FFmpegError: it can't be opened.
    """
    with opened(path) as container:
        clock = _Clock(rate_hz, channels, begin_s)
        mixer: _Mixer | None = None
        key: object = None
        for frame in decoded(container, sound(container)):
            if end_s is not None and clock.at_s(frame) > end_s:
                break
            if begin_s is not None and frame.time is not None and frame.time < begin_s - _GAP_S:
                continue
            form = frame.format.name, frame.layout.name, frame.sample_rate
            if mixer is None or form != key:
                yield from _flushed(mixer, clock)
                mixer, key = _Mixer(frame, rate_hz, channels), form
            yield from clock.hole(frame)
            for piece in mixer.feed(frame):
                yield clock.told(piece)
        yield from _flushed(mixer, clock)


class _Mixer:
    """Frames of one form to samples of the wanted rate and channels."""

    def __init__(self, frame: Any, rate_hz: int, channels: int) -> None:
        self._names = [channel.name for channel in frame.layout.channels]
        self._channels, self._rate_hz = channels, rate_hz
        # Packed: PyAV miscounts the planes of eight channels and more.
        self._plain = av.AudioResampler("flt", frame.layout.name, frame.sample_rate)
        self._layout = LAYOUTS[min(channels, len(self._names))]
        self._resampler = av.AudioResampler("fltp", self._layout, rate_hz)

    def feed(self, frame: Any) -> Iterator[Samples]:
        for plain in self._plain.resample(frame):
            samples = plain.to_ndarray().reshape(-1, len(self._names)).T
            mix = mixed(samples, self._names, self._channels)
            found = av.AudioFrame.from_ndarray(np.ascontiguousarray(mix), "fltp", self._layout)
            found.sample_rate = plain.sample_rate
            for ready in self._resampler.resample(found):
                yield self._spread(ready.to_ndarray())

    def end(self) -> Iterator[Samples]:
        """The last samples, which lie in the resampler."""
        for ready in self._resampler.resample(None):
            yield self._spread(ready.to_ndarray())

    def _spread(self, samples: Any) -> Samples:
        """Mono on as many channels as are wanted."""
        return (
            np.repeat(samples, self._channels, axis=0) if len(samples) < self._channels else samples
        )


class _Clock:
    """Where the recording has come to, in samples that were given out."""

    def __init__(self, rate_hz: int, channels: int, begin_s: float | None) -> None:
        self._rate_hz, self._channels, self._begin_s = rate_hz, channels, begin_s
        self._given = 0

    def at_s(self, frame: Any) -> float:
        """Time of a frame since the first one; where time stamps lack, that of the samples."""
        now_s = self._given / self._rate_hz
        if frame.time is None:
            return now_s
        if self._begin_s is None:
            self._begin_s = frame.time
        return max(0.0, float(frame.time - self._begin_s))

    def hole(self, frame: Any) -> Iterator[Samples]:
        """Silence in place of what the file leaves out."""
        missing_s = self.at_s(frame) - self._given / self._rate_hz
        if not _GAP_S < missing_s < _LONGEST_GAP_S:
            return
        left = round(missing_s * self._rate_hz)
        while left > 0:
            count = min(left, round(_PIECE_S * self._rate_hz))
            yield self.told(np.zeros((self._channels, count), np.float32))
            left -= count

    def told(self, piece: Samples) -> Samples:
        """A piece is given out."""
        self._given += piece.shape[1]
        return piece


def _flushed(mixer: _Mixer | None, clock: _Clock) -> Iterator[Samples]:
    if mixer is not None:
        for piece in mixer.end():
            yield clock.told(piece)


def mixed(samples: Any, names: Sequence[str], channels: int) -> Samples:
    """Fewer channels, with all that was in any of them but LFE.

    Args:
        names: FFmpeg's name of each channel, such as FL; others alternate between the sides.
        channels: 1 or 2.
    """
    if len(samples) <= channels:
        return np.asarray(samples, np.float32)
    rows = np.array([_weights(name, place) for place, name in enumerate(names)]).T
    if channels == 1:
        rows = rows.sum(axis=0, keepdims=True)
    sums = rows.sum(axis=1, keepdims=True)
    weights = rows / np.where(sums > 0, sums, 1)
    return np.asarray(weights @ samples, np.float32)


def _weights(name: str, place: int) -> tuple[float, float]:
    """Shares of the left and of the right."""
    if name.startswith("LFE"):
        return 0.0, 0.0
    loud = 1.0 if name in ("FL", "FR") else _BESIDE
    if name.endswith("L"):
        return loud, 0.0
    if name.endswith("R"):
        return 0.0, loud
    if name.endswith("C"):
        return loud, loud
    return (1.0, 0.0) if place % 2 == 0 else (0.0, 1.0)
