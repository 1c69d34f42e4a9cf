"""Decoding of images, sound and video, as far as a reply describes them."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.container import InputContainer
from PIL import Image

from omni_batch.simulator.checks.media_info import Film, Medium, Picture, Sound

Samples = npt.NDArray[np.float32]

ANALYSIS_HZ = 16_000
ANALYSED_S = 10.0
"""Loudness is judged by the beginning of a recording; its length is measured to the end."""


class Undecodable(ValueError):
    """The bytes are not what they should be."""


def picture(file: IO[bytes]) -> Picture:
    """Measure an image and name its colours; the pixels are decoded, so a torn file is found.

    Raises:
        Undecodable: Pillow can't read it.
    """
    try:
        with Image.open(file) as image:
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
    *((12, "red"), (27, "orange"), (42, "yellow"), (108, "green"), (135, "cyan")),
    *((178, "blue"), (205, "purple"), (240, "pink"), (256, "red")),
)
"""Upper end of each hue on Pillow's circle of 256 steps."""


def _colour(hue: int, saturation: int, value: int) -> str:
    if value < 40:
        return "black"
    if saturation < 40:
        return "white" if value > 215 else "grey"
    name = next(name for end, name in _HUES if hue < end)
    return "brown" if name in ("orange", "red") and value < 140 else name


def sound(file: IO[bytes]) -> Sound:
    """Measure a recording; a video file counts by its sound track.

    Raises:
        Undecodable: FFmpeg finds no audio in it.
    """
    with _opened(file) as container:
        stream = container.streams.audio[0]
        stated_s = _stated_s(container)
        samples = _samples(container.decode(stream), ANALYSED_S if stated_s else math.inf)
        loudness_db, pause_share = _loudness(samples)
        seconds = stated_s or len(samples) / ANALYSIS_HZ
        return Sound(seconds, stream.rate, stream.channels, loudness_db, pause_share)


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[InputContainer]:
    try:
        with av.open(file, "r") as container:
            yield container
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise Undecodable(str(error)) from error


def _stated_s(container: InputContainer) -> float | None:
    """Seconds as the file states them; a file that states none is decoded to its end."""
    if container.format.name == "aac" or not container.duration:
        return None  # bare AAC has no header: FFmpeg guesses its length, a few per cent off
    return container.duration / av.time_base


def _samples(frames: Iterator[AudioFrame], at_most_s: float) -> Samples:
    """Samples between -1 and 1, one channel at `ANALYSIS_HZ`."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=ANALYSIS_HZ)
    pieces, count = [np.zeros(0, np.float32)], 0
    for frame in frames:
        pieces += [part.to_ndarray()[0].astype(np.float32) for part in resampler.resample(frame)]
        count += len(pieces[-1])
        if count > at_most_s * ANALYSIS_HZ:
            break
    return np.concatenate(pieces)


def _loudness(samples: Samples) -> tuple[float | None, float]:
    window = ANALYSIS_HZ // 20
    whole = samples[: len(samples) // window * window].reshape(-1, window)
    if not whole.size:
        return None, 0.0
    power = np.mean(whole.astype(np.float64) ** 2, axis=1)
    loudness = 10 * float(np.log10(np.mean(power) + 1e-12))
    return loudness, float(np.mean(power < np.mean(power) / 50))


def film(file: IO[bytes]) -> Film:
    """Measure a video file; its first frame is decoded.

    Raises:
        Undecodable: FFmpeg finds no pictures in it.
    """
    with _opened(file) as container:
        stream = container.streams.video[0]
        first = next(container.decode(stream), None)
        if first is None:
            raise Undecodable("it has no pictures")
        thumbnail = first.reformat(width=32, height=32, format="rgb24").to_ndarray()
        seconds = (container.duration or 0) / av.time_base
        fps = float(stream.average_rate or stream.guessed_rate or 25)
        return Film(
            duration_s=seconds,
            fps=fps,
            frame_count=stream.frames or round(seconds * fps),
            width_px=first.width,
            height_px=first.height,
            has_sound=bool(container.streams.audio),
            colours=colours(Image.fromarray(thumbnail)),
        )


BY_KIND: Mapping[str, Callable[[IO[bytes]], Medium]] = {
    "image": picture,
    "audio": sound,
    "video": film,
}
"""Kind of part to the way it is measured."""
