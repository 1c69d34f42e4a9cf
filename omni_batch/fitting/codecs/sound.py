"""Recordings by FFmpeg: every channel is kept but LFE, the clock of the file is kept, and what is
too long becomes windows that end in a silence where there is one.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from omni_batch.changes import SoundChange, SoundTraits
from omni_batch.errors import MediaError
from omni_batch.fitting.codecs.files import described
from omni_batch.fitting.codecs.streams import decoded, opened, sound_of
from omni_batch.fitting.made import Made, MadeFile
from omni_batch.fitting.windows import cut_windows

Samples = NDArray[np.float32]
"""Channels by time, from -1 to 1."""
_GAP_S = 0.1
"""So far a time stamp may be ahead of the samples before it is a hole in the recording."""
_LONGEST_GAP_S = 24 * 3600.0
_PIECE_S = 1.0
_STATES_LENGTH = ("aiff", "flac", "mov", "asf", "caf")
"""FFmpeg's names of containers whose header is right about their length; WAV's often is not."""
_BESIDE = 0.7
"""How loud a channel of the side or the back is mixed in."""
_SILENCE = "noise=-35dB:d=0.3"
_LAYOUTS = {1: "mono", 2: "stereo"}
_CODECS = {"wav": ("pcm_s16le", "audio/wav"), "mp3": ("libmp3lame", "audio/mpeg")}


def look_at_sound(path: Path) -> SoundTraits:
    """Rate and channels of a recording.

    Raises:
        av.FFmpegError: it can't be opened.
    """
    with opened(path) as container:
        stream = _stream(container)
        channels = stream.codec_context.layout.nb_channels
        name, length = container.format.name.partition(",")[0], container.duration
        stated_s = length / av.time_base if length and name in _STATES_LENGTH else None
        return SoundTraits(stream.rate, channels, len(container.streams.audio), stated_s)


def make_sound(path: Path, folder: Path, change: SoundChange) -> Made:
    """The recording as it is to be sent, in a folder.

    Raises:
        MediaError: nothing in it can be played.
        av.FFmpegError: it can't be opened.
    """
    whole = (0, None)
    cuts: Sequence[tuple[int, int | None]] = [whole]
    if change.window_s is not None:
        total, silences = _measured(path, change)
        cuts = cut_windows(
            *(total, silences),
            round(change.window_s * change.rate_hz),
            round(change.overlap_s * change.rate_hz),
        )
    return Made(tuple(_cut(path, folder, change, cuts)))


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


# --- reading ---


def _stream(container: Any) -> Any:
    if (stream := sound_of(container)) is None:
        raise MediaError("there is no sound in it")
    return stream


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
        for frame in decoded(container, _stream(container)):
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
        self._layout = _LAYOUTS[min(channels, len(self._names))]
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


# --- windows ---


def _measured(path: Path, change: SoundChange) -> tuple[int, list[tuple[int, int]]]:
    """Length and silences, in samples."""
    detector, total = _SilenceDetector(change.rate_hz), 0
    for piece in samples_of(path, change.rate_hz, 1):
        detector.feed(piece, total)
        total += piece.shape[1]
    return total, detector.ended(total)


class _SilenceDetector:
    """FFmpeg's silencedetect over samples."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._graph = av.filter.Graph()
        source = self._graph.add_abuffer(sample_rate=rate_hz, format="fltp", layout="mono")
        detector = self._graph.add("silencedetect", _SILENCE)
        sink = self._graph.add("abuffersink")
        source.link_to(detector)
        detector.link_to(sink)
        self._graph.configure()
        self._begin: int | None = None
        self._found: list[tuple[int, int]] = []

    def feed(self, samples: Samples, place: int) -> None:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", "mono")
        frame.sample_rate, frame.pts = self._rate_hz, place
        self._graph.push(frame)
        while True:
            try:
                seen = self._graph.pull().metadata
            except (av.BlockingIOError, av.EOFError):
                return
            self._note(seen)

    def _note(self, seen: dict[str, str]) -> None:
        if (begin := seen.get("lavfi.silence_start")) is not None:
            self._begin = max(0, round(float(begin) * self._rate_hz))
        if (end := seen.get("lavfi.silence_end")) is not None and self._begin is not None:
            self._found.append((self._begin, round(float(end) * self._rate_hz)))
            self._begin = None

    def ended(self, total: int) -> list[tuple[int, int]]:
        return [*self._found, *([(self._begin, total)] if self._begin is not None else [])]


def _cut(
    path: Path, folder: Path, change: SoundChange, cuts: Sequence[tuple[int, int | None]]
) -> Iterator[MadeFile]:
    with ExitStack() as stack:
        writers = [
            stack.enter_context(SoundWriter(folder / f"{number}.{change.form}", change))
            for number, _ in enumerate(cuts)
        ]
        place = 0
        for piece in samples_of(path, change.rate_hz, change.channels):
            for writer, (begin, end) in zip(writers, cuts, strict=True):
                stop = None if end is None else max(0, end - place)
                writer.write(piece[:, max(0, begin - place) : stop])
                if stop is not None and stop <= piece.shape[1]:
                    writer.close()
            place += piece.shape[1]
    if not place:
        raise MediaError("nothing in it can be played: make or download it again")
    for writer, (begin, _) in zip(writers, cuts, strict=True):
        yield writer.file(begin / change.rate_hz)


class SoundWriter:
    """One file of sound; opened with its first sample, closed when the block ends."""

    def __init__(self, path: Path, change: SoundChange) -> None:
        self._path, self._change = path, change
        self._samples = 0
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> "SoundWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Complete the file; harmless where it is."""
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._container = None

    def write(self, samples: Samples) -> None:
        """Take in the next samples."""
        if not samples.shape[1]:
            return
        if self._container is None:
            self._open()
        layout = _LAYOUTS[self._change.channels]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", layout)
        frame.sample_rate, frame.pts = self._change.rate_hz, self._samples
        self._samples += samples.shape[1]
        self._container.mux(self._stream.encode(frame))

    def _open(self) -> None:
        form, rate_hz = self._change.form, self._change.rate_hz
        self._container = av.open(str(self._path), "w", format=form)
        layout = _LAYOUTS[self._change.channels]
        self._stream = self._container.add_stream(_CODECS[form][0], rate=rate_hz, layout=layout)
        if self._change.bit_rate is not None:
            self._stream.bit_rate = self._change.bit_rate

    def file(self, begin_s: float) -> MadeFile:
        """What was written."""
        form = self._change.form
        seconds = self._samples / self._change.rate_hz
        return described(
            *(self._path, form, _CODECS[form][1]),
            begin_s=begin_s,
            duration_s=seconds,
            has_sound=True,
        )
