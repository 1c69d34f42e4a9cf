"""Videos by FFmpeg: upright, even, of eight bits, on a clock from 0; whole, cut, or as stills."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from omni_batch.changes import FilmChange, FilmTraits, StillsChange
from omni_batch.errors import MediaError
from omni_batch.fitting.codecs.files import described, written
from omni_batch.fitting.codecs.picture import encode_still
from omni_batch.fitting.codecs.sound import samples_of
from omni_batch.fitting.codecs.streams import decoded, opened, picture_times, pictures_of, sound_of
from omni_batch.fitting.made import Made, MadeFile

_PLAIN = ("yuv420p", "yuvj420p", "nv12")
_QUARTERS = (90, 270)
_TICKS = Fraction(1, 90_000)
_SOUND_HZ = 48_000
_SOUND_BITS = 96_000
_CRF = "23"
_ATTEMPTS = 4
_SPARE = 0.92
"""Share of the bytes that pictures and sound are planned to take: containers take some as well."""
_LEAST_BITS, _LEAST_SOUND_BITS = 20_000, 16_000
_WHOLE = 0.97
"""Share of the time that must be there, or the video counts as damaged."""
_LEAST_STILLS = 2
_LATE_S = 0.5
_STATES_LENGTH = ("matroska", "mov", "avi", "flv", "asf")
"""FFmpeg's names of containers that have a length in their header; of others it is guessed."""


def look_at_film(path: Path) -> FilmTraits:
    """How its pictures are stored; the first of them is decoded, as only it says how it is turned.

    Raises:
        av.FFmpegError: it can't be opened.
        MediaError: no picture can be decoded.
    """
    with opened(path) as container:
        stream = _pictures(container)
        frame = next(decoded(container, stream), None)
        if frame is None:
            raise MediaError("none of its pictures can be decoded: make or download it again")
        ratio = stream.codec_context.sample_aspect_ratio or stream.sample_aspect_ratio
        turn = _Turn.of(frame)
        return FilmTraits(
            *(frame.width, frame.height),
            turned=turn.degrees in _QUARTERS,
            upright=turn.filters == (),
            plain_pixels=frame.format.name in _PLAIN,
            pixel_ratio=float(ratio) if ratio and 0.1 < ratio < 10 else 1.0,
            begins_s=float(frame.time or 0.0),
            stated_s=_stated_s(container),
        )


@dataclass(frozen=True, slots=True)
class _Turn:
    """What has to be done for a picture to be upright."""

    degrees: int
    """Counter-clockwise."""
    filters: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, frame: Any) -> "_Turn":
        degrees = round(frame.rotation / 90) * 90 % 360
        mirrored = _is_mirrored(frame)
        turns = {0: (), 90: (("transpose", "cclock"),), 270: (("transpose", "clock"),)}
        filters = turns.get(degrees, (("hflip", ""), ("vflip", "")))
        return cls(degrees, (*((("hflip", ""),) if mirrored else ()), *filters))


def _is_mirrored(frame: Any) -> bool:
    """Whether its display matrix has a negative determinant (ISO 14496-12: a, b, u, c, d, …)."""
    data = next((side for side in frame.side_data if side.type.name == "DISPLAYMATRIX"), None)
    if data is None:
        return False
    a, b, _, c, d = (int(number) for number in memoryview(bytes(data)).cast("i")[:5])
    return a * d - b * c < 0


def _pictures(container: Any) -> Any:
    if (stream := pictures_of(container)) is None:
        raise MediaError("there are no pictures in it")
    return stream


class _Shaper:
    """Pictures as they are to be shown, in one size; the filters are built anew where a picture
    differs from the one before."""

    def __init__(self, size_px: tuple[int, int], pixel_format: str) -> None:
        self._size_px, self._format = size_px, pixel_format
        self._key: object = None
        self._graph: Any = None

    def __call__(self, frame: Any) -> Any:
        turn = _Turn.of(frame)
        key = frame.width, frame.height, frame.format.name, turn
        if key != self._key:
            self._key, self._graph = key, self._built(frame, turn)
        self._graph.push(frame)
        return self._graph.pull()

    def _built(self, frame: Any, turn: _Turn) -> Any:
        width_px, height_px = self._size_px
        graph = av.filter.Graph()
        last = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format.name,
            time_base=frame.time_base or _TICKS,
        )
        steps = (
            *turn.filters,
            ("scale", f"{width_px}:{height_px}:flags=bicubic"),
            ("setsar", "1"),
            ("format", self._format),
            ("buffersink", ""),
        )
        for name, argument in steps:
            step = graph.add(name, argument) if argument else graph.add(name)
            last.link_to(step)
            last = step
        graph.configure()
        return graph


# --- a video anew ---


def make_film(path: Path, folder: Path, change: FilmChange) -> Made:
    """The video as it is to be sent, in a folder.

    Raises:
        MediaError: too little of it can be decoded, or it can't be made small enough.
        av.FFmpegError: it can't be opened.
    """
    times, expected_s = _times(path)
    seconds = min(change.end_s or expected_s, expected_s)
    target, bits = folder / "0.mp4", None
    for attempt in range(_ATTEMPTS):
        encoder = _Encoder(path, target, change, bits, times[0] if times else None)
        encoder.run()
        if change.max_bytes is None or target.stat().st_size <= change.max_bytes:
            break
        bits = _bits(change, max(seconds, 0.1), attempt)
    else:
        raise MediaError(f"it can't be made smaller than {change.max_bytes:,} bytes")
    if encoder.pictures < _LEAST_STILLS:
        raise MediaError(_damaged(encoder.seconds, expected_s))
    end_s = expected_s if change.end_s is None else min(change.end_s, expected_s)
    return Made((encoder.file(),), _damage(encoder.seconds, end_s))


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
        self.pictures = 0
        self.seconds = 0.0
        self.has_sound = False

    def run(self) -> None:
        """Write all of it."""
        options = {"movflags": "+faststart"}
        with av.open(str(self._target), "w", format="mp4", options=options) as target:
            with opened(self._path) as source:
                self.has_sound = sound_of(source) is not None
                rate = _pictures(source).average_rate
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
        film.codec_context.time_base = _TICKS
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
        frames = self._sound_frames(sound) if sound is not None else iter(())
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
        """Pictures of the wanted size with times in `_TICKS`, rising, from 0."""
        shape = _Shaper((self._change.width_px, self._change.height_px), "yuv420p")
        begin_s, last = None, -1
        with opened(self._path) as source:
            for frame in decoded(source, _pictures(source)):
                if frame.time is None:
                    continue
                begin_s = frame.time if begin_s is None else begin_s
                at_s = frame.time - begin_s
                if self._change.end_s is not None and at_s >= self._change.end_s:
                    return
                ticks = round(at_s / _TICKS)
                if ticks <= last:
                    continue
                made = shape(frame)
                made.pts, made.time_base, made.pict_type = ticks, _TICKS, 0
                self.pictures, self.seconds, last = self.pictures + 1, at_s, ticks
                yield made

    def _sound_frames(self, sound: Any) -> Iterator[tuple[float, Any]]:
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


# --- stills ---


def make_stills(path: Path, folder: Path, change: StillsChange) -> Made:
    """Still images of a video, spread evenly from its first picture to its last, by its clock.

    Raises:
        MediaError: too little of it can be decoded.
        av.FFmpegError: it can't be opened.
    """
    times, expected_s = _times(path)
    wanted = _spread(times[-1] - times[0] if times else 0.0, change.count)
    files, last_s = _stills(path, folder, change, wanted)
    if len(files) < change.count:  # the end can't be decoded: what is there is spread anew
        files, last_s = _stills(path, folder, change, _spread(last_s, change.count))
    if len(files) < _LEAST_STILLS:
        raise MediaError(_damaged(last_s, expected_s))
    return Made(tuple(files), _damage(last_s, expected_s))


def _spread(seconds: float, count: int) -> list[float]:
    return [seconds * place / max(1, count - 1) for place in range(count)]


def _stills(
    path: Path, folder: Path, change: StillsChange, wanted: list[float]
) -> tuple[list[MadeFile], float]:
    """One file for each time that the pictures reach, and the time of the last picture."""
    shape = _Shaper((change.width_px, change.height_px), "rgb24")
    files: list[MadeFile] = []
    shown: Any = None
    begin_s, at_s = None, 0.0

    def take() -> None:
        files.append(_still(folder, shape(shown), change, len(files), wanted))

    with opened(path) as source:
        for frame in decoded(source, _pictures(source)):
            if frame.time is None:
                continue
            begin_s = frame.time if begin_s is None else begin_s
            at_s = frame.time - begin_s
            while (
                shown is not None and len(files) < len(wanted) and wanted[len(files)] < at_s - 1e-3
            ):
                take()
            shown = frame
    while shown is not None and len(files) < len(wanted) and wanted[len(files)] <= at_s + 1e-3:
        take()
    return files, at_s


def _still(
    folder: Path, frame: Any, change: StillsChange, number: int, wanted: list[float]
) -> MadeFile:
    data, image = encode_still(frame.to_image(), change.max_bytes)
    begin_s = wanted[number]
    path = folder / f"{number:04}.jpg"
    return written(path, data, "jpeg", "image/jpeg", size_px=image.size, begin_s=begin_s)


# --- damage ---


def _times(path: Path) -> tuple[list[float], float]:
    """Times of all pictures that the file has, and how long it says that it is."""
    with opened(path) as container:
        stream = _pictures(container)
        stated_s = _stated_s(container) or 0.0
        times = picture_times(container, stream)
        there_s = times[-1] - times[0] if times else 0.0
        return times, max(there_s, stated_s)


def _stated_s(container: Any) -> float | None:
    """How long the file says that it is; Matroska counts from 0 where its clock begins later."""
    if container.format.name.partition(",")[0] not in _STATES_LENGTH or not container.duration:
        return None
    stated_s, late_s = container.duration / av.time_base, (container.start_time or 0) / av.time_base
    return float(stated_s - late_s if late_s > _LATE_S and stated_s > late_s else stated_s)


def _damage(there_s: float, expected_s: float) -> tuple[tuple[str, str], ...]:
    if there_s >= expected_s * _WHOLE - 1.0:
        return ()
    return (("video-damaged", f"{{name}} {_damaged(there_s, expected_s)}; what is whole is sent"),)


def _damaged(there_s: float, expected_s: float) -> str:
    return f"is cut off or damaged: of {expected_s:.1f} s only {there_s:.1f} s can be decoded"
