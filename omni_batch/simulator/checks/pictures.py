"""Decoding of images, as far as a reply describes them.

BMP, JPEG, PNG, TIFF, WEBP and HEIC are what the guide to visual understanding lists; whatever else
a decoder opens is taken as well, since no document refuses it.
"""

import io
import struct
from collections import Counter
from collections.abc import Iterator
from typing import IO

import av
import numpy as np
from av.container import InputContainer
from av.stream import Stream
from PIL import Image

from omni_batch.simulator.checks.media_info import Picture, Undecodable

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_END_OF_JPEG = b"\xff\xd9"
_STUFFING = b"\x55" * 64
HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"})
"""Major brands of files that hold stills coded as video (ISO/IEC 23008-12)."""


def picture(file: IO[bytes]) -> Picture:
    """Measure an image and name its colours; the pixels are decoded, so a torn file is found.

    Raises:
        Undecodable: pixels are missing, or it is no image.
    """
    try:
        return _decoded(file)
    except Undecodable:
        file.seek(0)
        return _mended(file)


def _mended(file: IO[bytes]) -> Picture:
    """An image that Pillow refuses for something that no viewer minds."""
    start = file.read(12)
    file.seek(0)
    if start.startswith(_PNG):
        return _decoded(io.BytesIO(b"".join(_needed_chunks(file.read()))))
    if start.startswith(_JPEG) and _has_all_pixels(data := file.read()):
        return _decoded(io.BytesIO(data + _END_OF_JPEG))
    if start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS:
        return _still(file.read())
    raise Undecodable("it is no image, or a part of it is missing")


def _decoded(file: IO[bytes]) -> Picture:
    try:
        with Image.open(file) as image:
            width, height = image.size
            image.draft("RGB", (32, 32))  # JPEG decodes at a fraction of its size, much faster
            return Picture(width, height, colours(image))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Undecodable(str(error)) from error


def _needed_chunks(data: bytes) -> Iterator[bytes]:
    """A PNG without its side chunks: viewers show the pixels whatever is wrong with those."""
    yield _PNG
    at = len(_PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind[:1].isupper() or kind == b"tRNS":
            yield data[at:end]
        at = end


def _has_all_pixels(data: bytes) -> bool:
    """Whether a JPEG lacks only its end marker.

    A decoder makes up what is missing, so the file is read with two different continuations: the
    pixels are the same only if they owe nothing to either.
    """
    try:
        return _pixels(data + _END_OF_JPEG) == _pixels(data + _STUFFING + _END_OF_JPEG)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.tobytes()


def _still(data: bytes) -> Picture:
    """A still coded as video; a grid of tiles has the size of the whole, not of a tile."""
    try:
        with av.open(io.BytesIO(data), "r") as container:
            frames = _first_frames(container)
    except (av.FFmpegError, ValueError) as error:
        raise Undecodable(str(error)) from error
    largest = max(frames, key=lambda frame: frame.width * frame.height)
    sizes = [*_stated_sizes(data), (largest.width, largest.height)]
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    thumbnail = largest.reformat(width=32, height=32, format="rgb24").to_ndarray()
    return Picture(width, height, colours(Image.fromarray(thumbnail)))


def _first_frames(container: InputContainer) -> list[av.VideoFrame]:
    """One frame of every tile and of the thumbnail, if there is one."""
    frames = {packet.stream_index: frame for packet in container.demux() for frame in _of(packet)}
    if not frames or len(frames) < len(container.streams.video):
        raise Undecodable("a part of it is missing")
    return list(frames.values())


def _of(packet: "av.Packet[Stream]") -> list[av.VideoFrame]:
    return [frame for frame in packet.decode() if isinstance(frame, av.VideoFrame)]


def _stated_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """The sizes in all `ispe` properties: of tiles, thumbnail and the image they make up."""
    at = data.find(b"ispe")
    while 0 <= at <= len(data) - 16:
        width, height = struct.unpack_from(">II", data, at + 8)
        yield width, height
        at = data.find(b"ispe", at + 4, 1 << 16)


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
