"""Videos by FFmpeg: upright, even, of eight bits, on a clock from 0; whole or cut."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from omni_batch.changes import FilmChange, FilmTraits
from omni_batch.errors import MediaError
from omni_batch.fitting.codecs.damage import damage, damaged, stated_s, stated_times
from omni_batch.fitting.codecs.files import described
from omni_batch.fitting.codecs.samples import samples_of
from omni_batch.fitting.codecs.shape import TICKS, Shaper, is_quarter, turn_of
from omni_batch.fitting.codecs.streams import Losses, opened, pictures, shown, sound_of
from omni_batch.fitting.made import Made, MadeFile

_PLAIN = ("yuv420p", "yuvj420p", "nv12", "yuv422p", "yuvj422p")
"""FFmpeg's names of pixels of eight bits that every decoder shows."""
_SOUND_HZ = 48_000
_SOUND_BITS = 96_000
_CRF = "23"
_ATTEMPTS = 4
_SPARE = 0.92
"""Share of the bytes that pictures and sound are planned to take: containers take some as well."""
_LEAST_BITS, _LEAST_SOUND_BITS = 20_000, 16_000
_LEAST_PICTURES = 2


def look_at_film(path: Path) -> FilmTraits:
    """How its pictures are stored; the first of them is decoded, as only it says how it is turned.

    Raises:
        av.FFmpegError: it can't be opened.
        MediaError: no picture can be decoded.
    """
    with opened(path) as container:
        stream = pictures(container)
        begins_s, frame = next(shown(container), (0.0, None))
        if frame is None:
            raise MediaError("none of its pictures can be decoded: make or download it again")
        ratio = stream.codec_context.sample_aspect_ratio or stream.sample_aspect_ratio
        turn = turn_of(frame)
        return FilmTraits(
            *(frame.width, frame.height),
            turned=is_quarter(turn),
            upright=not turn,
            plain_pixels=frame.format.name in _PLAIN,
            pixel_ratio=float(ratio) if ratio and 0.1 < ratio < 10 else 1.0,
            begins_s=begins_s,
            stated_s=stated_s(container),
        )


def make_film(path: Path, folder: Path, change: FilmChange) -> Made:
    """The video as it is to be sent, in a folder.

    Raises:
        MediaError: too little of it can be decoded, or it can't be made small enough.
        av.FFmpegError: it can't be opened.
    """
    times, expected_s = stated_times(path)
    seconds = min(change.end_s or expected_s, expected_s)
    target, bits = folder / "0.mp4", None
    for attempt in range(_ATTEMPTS):
        encoder = _Encoder(path, target, change, bits, times.all[0] if times.all else None)
        encoder.run()
        if change.max_bytes is None or target.stat().st_size <= change.max_bytes:
            break
        bits = _bits(change, max(seconds, 0.1), attempt)
    else:
        raise MediaError(f"it can't be made smaller than {change.max_bytes:,} bytes")
    if encoder.pictures < _LEAST_PICTURES:
        raise MediaError(damaged(encoder.seconds, expected_s))
    told = damage(encoder.seconds, expected_s, encoder.losses, change.end_s)
    return Made((encoder.file(),), told)


def _bits(change: FilmChange, seconds: float, attempt: int) -> tuple[int, int]:
    """Bits a second that pictures and sound may take."""
    all_bits = _SPARE * 8 * (change.max_bytes or 0) / seconds / 2**attempt
    sound = min(_SOUND_BITS, max(_LEAST_SOUND_BITS, all_bits / 4))
    return max(_LEAST_BITS, round(all_bits - sound)), round(sound)


class _Encoder:
    """Writes one MP4; pictures keep their times."""

    def __init__(
        self,
        path: Path,
        target: Path,
        change: FilmChange,
        bits: tuple[int, int] | None,
        begin_s: float | None,
    ) -> None:
        self._begin_s = begin_s
        self._path, self._target, self._change, self._bits = path, target, change, bits
        self.losses = Losses()
        self.pictures = 0
        self.seconds = 0.0
        self.has_sound = False

    def run(self) -> None:
        """Write all of it."""
        options = {"movflags": "+faststart"}
        with av.open(str(self._target), "w", format="mp4", options=options) as target:
            with opened(self._path) as source:
                self.has_sound = sound_of(source) is not None
                rate = pictures(source).average_rate
            film = self._add_pictures(target, rate)
            sound = (
                target.add_stream("aac", rate=_SOUND_HZ, layout="stereo")
                if self.has_sound
                else None
            )
            if sound is not None:
                sound.bit_rate = _SOUND_BITS if self._bits is None else self._bits[1]
            self._write(target, film, sound)

    def _add_pictures(self, target: Any, rate: Fraction | None) -> Any:
        film = target.add_stream("libx264", rate=rate if rate and 1 <= rate <= 240 else 25)
        film.width, film.height = self._change.width_px, self._change.height_px
        film.pix_fmt = "yuv420p"
        film.codec_context.time_base = TICKS
        film.codec_context.thread_count = 1
        film.options = {"preset": "veryfast", "threads": "1"}
        if self._bits is None:
            film.options |= {"crf": _CRF}
        else:
            most = str(self._bits[0])
            film.bit_rate = self._bits[0]
            film.options |= {"maxrate": most, "bufsize": most}
        return film

    def _write(self, target: Any, film: Any, sound: Any) -> None:
        frames = self._sound_frames() if sound is not None else iter(())
        heard = next(frames, None)
        for frame in self._frames():
            while heard is not None and heard[0] <= self.seconds:
                target.mux(sound.encode(heard[1]))
                heard = next(frames, None)
            target.mux(film.encode(frame))
        target.mux(film.encode(None))
        while heard is not None:
            target.mux(sound.encode(heard[1]))
            heard = next(frames, None)
        if sound is not None:
            target.mux(sound.encode(None))

    def _frames(self) -> Iterator[Any]:
        """Pictures of the wanted size with times in `TICKS`, rising, from 0."""
        shape = Shaper((self._change.width_px, self._change.height_px), "yuv420p")
        last = -1
        with opened(self._path) as source:
            for clock_s, frame in shown(source, self.losses):
                at_s = clock_s - (clock_s if self._begin_s is None else self._begin_s)
                if self._change.end_s is not None and at_s >= self._change.end_s:
                    return
                ticks = round(at_s / TICKS)
                if ticks <= last:
                    continue
                made = shape(frame)
                made.pts, made.time_base, made.pict_type = ticks, TICKS, 0
                self.pictures, self.seconds, last = self.pictures + 1, at_s, ticks
                yield made

    def _sound_frames(self) -> Iterator[tuple[float, Any]]:
        place, end_s = 0, self._change.end_s
        most = None if end_s is None else round(end_s * _SOUND_HZ)
        for piece in samples_of(self._path, _SOUND_HZ, 2, end_s, self._begin_s):
            piece = piece if most is None else piece[:, : max(0, most - place)]
            if not piece.shape[1]:
                return
            frame = av.AudioFrame.from_ndarray(piece.copy(), "fltp", "stereo")
            frame.sample_rate, frame.pts = _SOUND_HZ, place
            frame.time_base = Fraction(1, _SOUND_HZ)
            yield place / _SOUND_HZ, frame
            place += piece.shape[1]

    def file(self) -> MadeFile:
        """What was written."""
        seconds = self.seconds * self.pictures / max(1, self.pictures - 1)
        return described(
            *(self._target, "mp4", "video/mp4"),
            size_px=(self._change.width_px, self._change.height_px),
            duration_s=seconds,
            has_sound=self.has_sound,
            frames_per_s=self.pictures / seconds if seconds else None,
        )
