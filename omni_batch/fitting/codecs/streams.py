"""Recordings and videos by FFmpeg: opened safely, read past damage, on a clock from 0."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from omni_batch.errors import MediaError
from omni_batch.requests.media.container import open_container

_USUAL_RATE = 25


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """A recording or video, also of the kinds that are only converted.

    Raises:
        av.FFmpegError: it can't be opened.
    """
    with path.open("rb") as file, open_container(file, to_convert=True) as container:
        yield container


def pictures_of(container: InputContainer) -> VideoStream | None:
    """The stream of a video's pictures; a cover is none."""
    streams = container.streams.video
    return next((s for s in streams if not s.disposition & Disposition.attached_pic), None)


def pictures(container: InputContainer) -> VideoStream:
    """The same.

    Raises:
        MediaError: there is none.
    """
    if (stream := pictures_of(container)) is None:
        raise MediaError("there are no pictures in it")
    return stream


def sound_of(container: InputContainer) -> AudioStream | None:
    """The first stream of sound."""
    return next(iter(container.streams.audio), None)


def sound(container: InputContainer) -> AudioStream:
    """The same.

    Raises:
        MediaError: there is none.
    """
    if (stream := sound_of(container)) is None:
        raise MediaError("there is no sound in it")
    return stream


@dataclass(slots=True)
class Losses:
    """How many pieces could not be decoded."""

    pieces: int = 0


def decoded(
    container: InputContainer, *streams: Any, losses: Losses | None = None
) -> Iterator[Any]:
    """All frames that can be decoded, in the order of the file; what can't be is passed over.

    Args:
        losses: counts what was passed over.
    """
    losses = losses or Losses()
    for stream in streams:
        if not stream.codec_context.is_open:
            stream.codec_context.thread_count = 1  # there is a process for each core
    packets = container.demux(list(streams))
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:  # the rest can't be read
            packet = None
        if packet is None:
            break
        yield from _frames(packet, losses)


def shown(container: InputContainer, losses: Losses | None = None) -> Iterator[tuple[float, Any]]:
    """All pictures that can be decoded, and when each is shown by the file's clock.

    Where a file has no clock, pictures follow each other at its usual rate.
    """
    stream = pictures(container)
    step_s = 1 / float(stream.average_rate or stream.guessed_rate or _USUAL_RATE)
    next_s = 0.0
    for frame in decoded(container, stream, losses=losses):
        at_s = next_s if frame.time is None else float(frame.time)
        next_s = at_s + step_s
        yield at_s, frame


def _frames(packet: Any, losses: Losses) -> list[Any]:
    """Of a packet; one without content comes last and brings out what the decoder holds."""
    try:
        frames = list(packet.decode())
        losses.pieces += any(getattr(frame, "is_corrupt", False) for frame in frames)
        return frames
    except EOFError:  # it has given out all before
        return []
    except av.FFmpegError:
        losses.pieces += 1
        return []


@dataclass(frozen=True, slots=True)
class PictureTimes:
    """Times in seconds of the file's clock, sorted."""

    all: list[float]
    whole: list[float]
    """Of pictures that need no other one to be decoded."""
    heard_s: float = 0.0
    """Time of the last sound; 0 without any."""

    @property
    def seconds(self) -> float:
        """From the first picture to the last."""
        return self.all[-1] - self.all[0] if self.all else 0.0

    @property
    def there_s(self) -> float:
        """From the first picture to the last picture or sound."""
        return max(self.seconds, self.heard_s - self.all[0]) if self.all else 0.0


def picture_times(container: InputContainer, stream: VideoStream) -> PictureTimes:
    """When pictures are shown, by the packets of a file; nothing is decoded."""
    times: list[float] = []
    whole: list[float] = []
    heard_s = 0.0
    step_s = 1 / float(stream.average_rate or stream.guessed_rate or _USUAL_RATE)
    sound = sound_of(container)
    for packet in _packets(container, [stream, *([sound] if sound else [])]):
        clocked = packet.pts is not None and packet.time_base is not None
        at_s = float(packet.pts * packet.time_base) if clocked else len(times) * step_s
        if packet.stream_index != stream.index:
            heard_s = max(heard_s, at_s)
            continue
        times.append(at_s)
        whole += times[-1:] if packet.is_keyframe and clocked else ()
    return PictureTimes(sorted(times), sorted(whole), heard_s)


def _packets(container: InputContainer, streams: list[Any]) -> Iterator[Any]:
    """Those with content, as far as they can be read."""
    packets = container.demux(streams)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return
        if packet is None:
            return
        if packet.size:
            yield packet
