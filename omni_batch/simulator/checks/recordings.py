"""Decoding of sound and video, as far as a reply describes them and as a player would play them.

Headers guess lengths, and count what came before a recording was cut out of a longer one. So sound
is as long as what is decoded of it, and pictures as many as there are. A piece that can't be
decoded is left out, and the rest goes on.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream
from PIL import Image

from omni_batch.simulator.checks.media_info import Film, Sound, Undecodable
from omni_batch.simulator.checks.pictures import HEIF_BRANDS, colours

Samples = npt.NDArray[np.float32]

ANALYSIS_HZ = 16_000
ANALYSED_S = 10.0
"""Loudness is judged by the beginning of a recording; its length is measured to the end."""
_USUAL_FPS = 25.0


@dataclass(slots=True)
class _Ear:
    """Listens to a sound stream to its end, and remembers its beginning."""

    stream: AudioStream
    heard_s: float = 0.0
    beginning: list[Samples] = field(default_factory=lambda: [np.zeros(0, np.float32)])
    _resampler: av.AudioResampler = field(
        default_factory=lambda: av.AudioResampler("flt", "mono", ANALYSIS_HZ)
    )

    def hear(self, packet: "av.Packet[Stream]") -> None:
        """Decode a packet of the stream."""
        for frame in _frames(packet):
            if isinstance(frame, AudioFrame):
                if self.heard_s < ANALYSED_S:
                    self.beginning += [_mono(part) for part in self._resampler.resample(frame)]
                self.heard_s += frame.samples / frame.sample_rate

    @property
    def duration_s(self) -> float:
        """What is played; an MP4 says in its edit list where the last frame's padding begins."""
        stated, base = self.stream.duration, self.stream.time_base
        if _is_mp4(self.stream.container) and stated and base:
            return min(self.heard_s, float(stated * base))
        return round(self.heard_s, 6)  # the sum of many frames may be a hair too long


@dataclass(slots=True)
class _Eye:
    """Counts the pictures of a video stream, and keeps the first."""

    stream: VideoStream
    count: int = 0
    first: av.VideoFrame | None = None
    begin_s: float = math.inf
    end_s: float = -math.inf

    def see(self, packet: "av.Packet[Stream]") -> None:
        """Count a packet of the stream; decode until there is a picture."""
        if packet.size:
            self.count += 1
            self._time(packet)
        if self.first is None:
            decoded = _frames(packet)
            self.first = next((f for f in decoded if isinstance(f, av.VideoFrame)), None)

    def _time(self, packet: "av.Packet[Stream]") -> None:
        if packet.pts is not None and packet.time_base:
            self.begin_s = min(self.begin_s, float(packet.pts * packet.time_base))
            end = packet.pts + (packet.duration or 0)
            self.end_s = max(self.end_s, float(end * packet.time_base))

    @property
    def frame_count(self) -> int:
        """All that are stored: an edit list that hides some is not asked.

        So does the published code, which takes the count that an MP4 states.
        """
        return self.stream.frames or self.count

    @property
    def fps(self) -> float:
        """The stated rate, unless the time stamps contradict it."""
        stated = float(self.stream.average_rate or self.stream.guessed_rate or _USUAL_FPS)
        seen_s = self.end_s - self.begin_s
        if self.stream.frames or not 0 < seen_s < math.inf:
            return stated
        return stated if abs(seen_s * stated - self.count) < 1.5 else self.count / seen_s


def sound(file: IO[bytes]) -> Sound:
    """Measure a recording; a video file counts by its sound track.

    Raises:
        Undecodable: nothing in it can be heard.
    """
    with _opened(file) as container:
        ear = _Ear(container.streams.audio[0])
        for packet in container.demux([ear.stream]):
            ear.hear(packet)
        if not ear.heard_s:
            raise Undecodable("it has no sound")
        loudness_db, pause_share = _loudness(np.concatenate(ear.beginning))
        rate_hz, channels = ear.stream.rate, ear.stream.channels
        return Sound(ear.duration_s, rate_hz, channels, loudness_db, pause_share)


def film(file: IO[bytes]) -> Film:
    """Measure a video file; its first frame is decoded.

    Raises:
        Undecodable: it has no moving pictures.
    """
    with _opened(file) as container:
        if _is_picture(container):
            raise Undecodable("it is a picture")
        eye = _Eye(next(stream for stream in container.streams.video if not _is_cover(stream)))
        ears = [_Ear(stream) for stream in container.streams.audio[:1]]
        senses = {eye.stream.index: eye.see} | {ear.stream.index: ear.hear for ear in ears}
        for packet in container.demux([eye.stream, *(ear.stream for ear in ears)]):
            senses[packet.stream_index](packet)
        return _film(eye, sum(ear.duration_s for ear in ears) or None)


def _film(eye: _Eye, sound_s: float | None) -> Film:
    if eye.first is None:
        raise Undecodable("it has no pictures")
    thumbnail = eye.first.reformat(width=32, height=32, format="rgb24").to_ndarray()
    return Film(
        duration_s=eye.frame_count / eye.fps,
        fps=eye.fps,
        frame_count=eye.frame_count,
        width_px=eye.first.width,
        height_px=eye.first.height,
        sound_s=sound_s,
        colours=colours(Image.fromarray(thumbnail)),
    )


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[InputContainer]:
    try:
        with av.open(file, "r") as container:
            yield container
    except (av.FFmpegError, IndexError, StopIteration, ValueError) as error:
        raise Undecodable(str(error)) from error


def _frames(packet: "av.Packet[Stream]") -> list[object]:
    """What a packet decodes to; nothing where it is damaged, as a player skips it."""
    try:
        return list(packet.decode())
    except av.FFmpegError:
        return []


def _is_mp4(container: object) -> bool:
    return isinstance(container, InputContainer) and container.format.name.startswith("mov,")


def _is_picture(container: InputContainer) -> bool:
    name, brand = container.format.name, container.metadata.get("major_brand", "")
    return (
        name in ("gif", "apng", "image2") or name.endswith("_pipe") or brand.encode() in HEIF_BRANDS
    )


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _mono(part: AudioFrame) -> Samples:
    samples: Samples = part.to_ndarray()[0].astype(np.float32)
    return samples


def _loudness(samples: Samples) -> tuple[float | None, float]:
    window = ANALYSIS_HZ // 20
    whole = samples[: len(samples) // window * window].reshape(-1, window)
    if not whole.size:
        return None, 0.0
    power = np.mean(whole.astype(np.float64) ** 2, axis=1)
    loudness = 10 * float(np.log10(np.mean(power) + 1e-12))
    return loudness, float(np.mean(power < np.mean(power) / 50))
