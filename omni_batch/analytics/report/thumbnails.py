"""Small pictures of images and of the first frame of videos, within a budget of bytes."""

import io
from pathlib import Path

import av
from PIL import Image, ImageOps

from omni_batch.requests.media.container import open_container
from omni_batch.requests.media.image import IMAGE_FORMATS
from omni_batch.requests.media.room import MOST_PIXELS

_SIDE_PX = 240  # shown at 120 CSS pixels
_QUALITY = 72
_BUDGET_BYTES = 2_500_000
_TRIES = 120  # frames are sought in so many packets


class Thumbnails:
    """JPEGs by number; each file is decoded once, until the budget is spent."""

    def __init__(self, budget_bytes: int = _BUDGET_BYTES) -> None:
        self.pictures: list[bytes] = []
        self._left_bytes = budget_bytes
        self._numbers: dict[Path, int | None] = {}

    def number(self, path: Path, kind: str, *, make: bool) -> int | None:
        """The number of a file's picture; None where there is none.

        Args:
            make: whether to make it now where it has not been made.
        """
        if path not in self._numbers and make and self._left_bytes > 0:
            self._numbers[path] = self._make(path, kind)
        return self._numbers.get(path)

    def _make(self, path: Path, kind: str) -> int | None:
        picture = thumbnail(path, kind)
        if picture is None or len(picture) > self._left_bytes:
            return None
        self._left_bytes -= len(picture)
        self.pictures.append(picture)
        return len(self.pictures) - 1


def thumbnail(path: Path, kind: str) -> bytes | None:
    """A JPEG of 240 pixels at most; None where nothing can be decoded."""
    try:
        image = _first_frame(path) if kind == "video" else _image(path)
    except Exception:  # decoders raise whatever a broken file makes them stumble over
        return None
    return _jpeg(image) if image is not None else None


def _image(path: Path) -> Image.Image | None:
    with Image.open(path, formats=IMAGE_FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            return None
        image.draft("RGB", (_SIDE_PX, _SIDE_PX))
        return ImageOps.exif_transpose(image).copy()


def _first_frame(path: Path) -> Image.Image | None:
    with path.open("rb") as file, open_container(file) as container:
        stream = container.streams.video[0]
        if stream.width * stream.height > MOST_PIXELS:
            return None
        stream.codec_context.thread_count = 1
        for count, packet in enumerate(container.demux(stream)):
            try:
                for frame in packet.decode():
                    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
                    return image
            except av.FFmpegError:  # what was cut out of a longer film may begin with half a frame
                pass
            if count == _TRIES:
                break
    return None


def _jpeg(image: Image.Image) -> bytes:
    flat = image.convert("RGBA")
    flat.thumbnail((_SIDE_PX, _SIDE_PX))
    paper = Image.new("RGB", flat.size, "white")
    paper.paste(flat, mask=flat.getchannel("A"))
    file = io.BytesIO()
    paper.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return file.getvalue()
