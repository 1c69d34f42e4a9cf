"""Decoding of images, sound and video, for no more than the facts that a reply tells."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.video.stream import VideoStream
from PIL import Image

from omni_batch.simulator.facts import Film, Medium, Picture, Sound

HEARD_S = 10.0
"""Loudness is judged by the beginning of a recording; its length is measured to the end."""


class Undecodable(ValueError):
    """The bytes are not what they should be."""


def picture(data: bytes) -> Picture:
    """Measure an image and name its colours; the pixels are decoded, so a torn file is found.

    Raises:
        Undecodable: Pillow can't read it.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            image.draft("RGB", (32, 32))  # JPEG decodes at a fraction of its size, much faster
            return Picture(width, height, colours(image))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Undecodable(str(error)) from error


def colours(image: Image.Image) -> tuple[str, ...]:
    """The one or two commonest colours by name, the commonest first."""
    small = image.convert("RGB").resize((12, 12), Image.Resampling.BOX).convert("HSV")
    pixels = np.asarray(small, dtype=np.int64).reshape(-1, 3)
    counts = Counter(_colour(*pixel) for pixel in pixels.tolist())
    ranked = counts.most_common(2)
    return tuple(name for name, count in ranked if count >= len(pixels) // 6)


_HUES = (
    (12, "red"),
    (27, "orange"),
    (42, "yellow"),
    (108, "green"),
    (135, "cyan"),
    (178, "blue"),
    (205, "purple"),
    (240, "pink"),
    (256, "red"),
)
"""Upper end of each hue on Pillow's circle of 256 steps."""


def _colour(hue: int, saturation: int, value: int) -> str:
    if value < 40:
        return "black"
    if saturation < 40:
        return "white" if value > 215 else "grey"
    name = next(name for end, name in _HUES if hue < end)
    return "brown" if name in ("orange", "red") and value < 140 else name


def sound(data: bytes) -> Sound:
    """Measure a recording; a video file counts by its sound track.

    Raises:
        Undecodable: FFmpeg finds no audio in it.
    """
    try:
        with av.open(io.BytesIO(data)) as container:
            stream = container.streams.audio[0]
            pieces = list(_mono(container.decode(stream), stream.rate))
            seconds = _container_s(container.duration) or len(np.concatenate(pieces)) / stream.rate
            loudness, pauses = _loudness(np.concatenate(pieces), stream.rate)
            return Sound(seconds, stream.rate, stream.channels, loudness, pauses)
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise Undecodable(str(error)) from error


def _container_s(duration: int | None) -> float | None:
    return duration / av.time_base if duration and duration > 0 else None


def _mono(frames: Iterator[AudioFrame], rate_hz: int) -> Iterator[npt.NDArray[np.float32]]:
    """Samples between -1 and 1 of the first `HEARD_S` seconds."""
    heard = 0
    for frame in frames:
        samples = frame.to_ndarray()
        scale = np.iinfo(samples.dtype).max if samples.dtype.kind in "iu" else 1
        channels = len(frame.layout.channels)
        mono = samples.reshape(-1, channels)[:, 0] if samples.shape[0] == 1 else samples[0]
        yield mono.astype(np.float32) / scale
        heard += len(mono)
        if heard > HEARD_S * rate_hz:
            return


def _loudness(samples: npt.NDArray[np.float32], rate_hz: int) -> tuple[float | None, float]:
    window = max(1, rate_hz // 20)
    whole = samples[: len(samples) // window * window].reshape(-1, window)
    if not whole.size:
        return None, 0.0
    power = np.mean(whole.astype(np.float64) ** 2, axis=1)
    loudness = 10 * float(np.log10(np.mean(power) + 1e-12))
    return loudness, float(np.mean(power < np.mean(power) / 50))


def film(data: bytes) -> Film:
    """Measure a video file; its first frame is decoded.

    Raises:
        Undecodable: FFmpeg finds no pictures in it.
    """
    try:
        with av.open(io.BytesIO(data)) as container:
            stream = container.streams.video[0]
            first = next(islice(container.decode(stream), 1))
            seconds = _container_s(container.duration) or 0.0
            fps = float(stream.average_rate or stream.guessed_rate or 25)
            return Film(
                duration_s=seconds,
                fps=fps,
                frame_count=_frame_count(stream, seconds, fps),
                width_px=first.width,
                height_px=first.height,
                has_sound=bool(container.streams.audio),
                colours=colours(first.to_image(width=32, height=32)),
            )
    except (av.FFmpegError, IndexError, StopIteration, ValueError) as error:
        raise Undecodable(str(error)) from error


def _frame_count(stream: VideoStream, seconds: float, fps: float) -> int:
    return stream.frames or round(seconds * fps)


BY_KIND: Mapping[str, Callable[[bytes], Medium]] = MappingProxyType(
    {"image": picture, "audio": sound, "video": film}
)
"""Kind of part to the way it is measured."""
