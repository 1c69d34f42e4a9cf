"""Recordings by FFmpeg: in one piece, or in windows that end in a silence where there is one."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av
import numpy as np

from omni_batch.changes import SoundChange, SoundTraits
from omni_batch.errors import MediaError
from omni_batch.fitting.codecs.files import described
from omni_batch.fitting.codecs.samples import LAYOUTS, Samples, samples_of
from omni_batch.fitting.codecs.streams import opened, sound
from omni_batch.fitting.made import Made, MadeFile
from omni_batch.fitting.windows import cut_windows

_STATES_LENGTH = ("aiff", "flac", "mov", "asf", "caf")
"""FFmpeg's names of containers whose header is right about their length; WAV's often is not."""
_SILENCE = "noise=-35dB:d=0.3"
_CODECS = {"wav": ("pcm_s16le", "audio/wav"), "mp3": ("libmp3lame", "audio/mpeg")}


def look_at_sound(path: Path) -> SoundTraits:
    """Rate and channels of a recording.

    Raises:
        av.FFmpegError: it can't be opened.
    """
    with opened(path) as container:
        stream = sound(container)
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
        layout = LAYOUTS[self._change.channels]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", layout)
        frame.sample_rate, frame.pts = self._change.rate_hz, self._samples
        self._samples += samples.shape[1]
        self._container.mux(self._stream.encode(frame))

    def _open(self) -> None:
        form, rate_hz = self._change.form, self._change.rate_hz
        self._container = av.open(str(self._path), "w", format=form)
        layout = LAYOUTS[self._change.channels]
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
