"""Images: Pillow decodes all pixels once; HEIC and AVIF are known by their boxes."""

import io
import struct
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile

from omni_batch.doubts import Doubt
from omni_batch.errors import MediaError
from omni_batch.requests.media.boxes import read_still
from omni_batch.requests.media.open_medium import OpenMedium
from omni_batch.requests.media.room import MOST_PIXELS, ROOM
from omni_batch.requests.media.sniff import heif_family, look_of
from omni_batch.types import Media

IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""Pillow's names of what is decoded. It knows more, EPS among them: that would run Ghostscript."""
_TO_CHANGE = (*IMAGE_FORMATS, "ICO", "JPEG2000", "PSD")
"""The same where the image is sent in another form."""
SENT_IMAGES = (*(name.lower() for name in IMAGE_FORMATS), "heic", "avif")
"""Short names of what is sent."""
_SECOND_READING_BYTES = 100 * 2**20
_ONE_SECOND_READING = threading.Lock()  # they hold a whole file, some of them twice
_START_OF_JPEG, _END_OF_JPEG = b"\xff\xd8", b"\xff\xd9"
_TAIL_BYTES = 64
_MORE_DATA = bytes(range(254, 0, -1)) * 64  # what an entropy decoder takes for pixels
_PNG_SIGNATURE_BYTES = 8

ImageFile.LOAD_TRUNCATED_IMAGES = False
warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd metadata, and of our own cap's matter


def probe_image(medium: OpenMedium) -> Media:
    """Type and size of an image; that all of its pixels are there, if all of it is there.

    Raises:
        MediaError: it is cut off, too large or can't be decoded.
    """
    family = heif_family(medium.head)
    try:
        if family is not None:
            return _by_boxes(medium, family)
        if medium.whole and _ends_in_zeros(medium):
            raise ValueError("zeros in place of data")  # which a decoder takes for grey
        return _decoded(
            medium.file,
            medium.name,
            whole=medium.whole and medium.depth != "glance",
            formats=_TO_CHANGE if medium.to_change else IMAGE_FORMATS,
        )
    except (MediaError, MemoryError):
        raise
    except Exception as exc:  # Pillow raises whatever a broken file makes it stumble over
        found = _second_reading(medium) if medium.whole else _by_its_head(medium)
        if found is None:
            raise MediaError("it is cut off or damaged: make or download it again") from exc
        return found


def _by_its_head(medium: OpenMedium) -> Media | None:
    """What the first bytes say of an image of which more is missing."""
    if (size_px := _webp_size_px(medium.head)) is not None:
        return _image("webp", *size_px)
    try:
        return _decoded(io.BytesIO(_critical_chunks(medium.head)), medium.name, whole=False)
    except Exception:  # as above
        look = look_of(medium.head)
        return _image(look.mime_type.rpartition("/")[2]) if look else None


def _webp_size_px(head: bytes) -> tuple[int, int] | None:
    """Width and height by the first chunk (RFC 9649); Pillow needs the whole file for that."""

    def bits(start: int, end: int) -> int:
        return int.from_bytes(head[start:end], "little")

    match head[8:16]:
        case b"WEBPVP8X":
            return 1 + bits(24, 27), 1 + bits(27, 30)
        case b"WEBPVP8L":
            return 1 + (bits(21, 25) & 0x3FFF), 1 + (bits(21, 25) >> 14 & 0x3FFF)
        case b"WEBPVP8 ":
            return bits(26, 28) & 0x3FFF, bits(28, 30) & 0x3FFF
    return None


def _decoded(
    source: BinaryIO, name: str, *, whole: bool, formats: tuple[str, ...] = IMAGE_FORMATS
) -> Media:
    source.seek(0)
    try:
        with Image.open(source, formats=formats) as image:
            width, height = image.size
            _check_pixels(width, height)
            if whole:
                _load(image)
            # MPO is a JPEG that carries more pictures behind the first one, as phones write it.
            form = "JPEG" if image.format == "MPO" else image.format or ""
            several = image.format != "MPO" and _has_several_pictures(image)
    except Image.DecompressionBombError:
        raise MediaError(_too_many("more pixels")) from None
    doubts = (_several_pictures(name, form),) if several else ()
    return _image(Image.MIME[form].rpartition("/")[2], width, height, doubts)


def _image(
    form: str,
    width_px: int | None = None,
    height_px: int | None = None,
    doubts: tuple[Doubt, ...] = (),
) -> Media:
    return Media(
        kind="image",
        reference="",
        mime_type=f"image/{form}",
        format=form,
        width_px=width_px,
        height_px=height_px,
        doubts=doubts,
    )


def _load(image: Image.Image) -> None:
    image.draft("RGB", (64, 64))  # decodes a JPEG at an eighth: all bytes, little work
    width, height = image.size
    with ROOM.hold(width * height):
        image.load()


def _has_several_pictures(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # the second one is damaged
        return True


def _several_pictures(name: str, form: str) -> Doubt:
    what = "has several pages" if form == "TIFF" else "is animated"
    return Doubt("several-pictures", f"{name} {what}; only one of its pictures is looked at")


def _check_pixels(width_px: int, height_px: int) -> None:
    if width_px * height_px > MOST_PIXELS:
        raise MediaError(_too_many(f"{width_px} x {height_px} pixels"))


def _too_many(what: str) -> str:
    return (
        f"it has {what}; omni-batch opens images of {MOST_PIXELS:,} pixels at most, against files "
        "that fill the memory: scale it down (the model sees a smaller one anyway)"
    )


# --- HEIC and AVIF ---


def _by_boxes(medium: OpenMedium, family: str) -> Media:
    still = read_still(medium.file)
    if still.end > medium.size_bytes:
        raise MediaError("it is cut off: make or download it again")
    _check_pixels(still.width_px, still.height_px)
    if family == "heif":
        family = {b"hvc1": "heic", b"av01": "avif"}.get(still.codec, family)
    return _image(family, still.width_px, still.height_px)


# --- what every viewer opens, and Pillow does not ---


def _second_reading(medium: OpenMedium) -> Media | None:
    """The image, where what is damaged is none of its pixels; None where pixels are."""
    mend = {_START_OF_JPEG: _with_end_mark, b"\x89P": _critical_chunks}.get(medium.head[:2])
    try:
        with _ONE_SECOND_READING:
            medium.file.seek(0)
            mended = mend(medium.file.read(_SECOND_READING_BYTES)) if mend else None
            if mended is None:
                return None
            found = _decoded(io.BytesIO(mended), medium.name, whole=True)
    except Exception:  # as above
        return None
    what = "has no end mark" if mend is _with_end_mark else "has damaged or huge metadata"
    message = f"{medium.name} {what}; its pixels are all there, but other readers may refuse it"
    return replace(found, doubts=(*found.doubts, Doubt("image-damaged", message)))


def _ends_in_zeros(medium: OpenMedium) -> bool:
    """A JPEG whose end was never written, as of a download that had its room reserved."""
    if not medium.head.startswith(_START_OF_JPEG):
        return False
    medium.file.seek(-min(_TAIL_BYTES, medium.size_bytes), io.SEEK_END)
    if any(medium.file.read(_TAIL_BYTES)):
        return False
    medium.file.seek(0)
    with _ONE_SECOND_READING:
        return not medium.file.read(_SECOND_READING_BYTES).rstrip(b"\0").endswith(_END_OF_JPEG)


def _with_end_mark(jpeg: bytes) -> bytes | None:
    """The JPEG with an end mark; None where pixels are missing before it.

    A decoder makes up missing data as it likes. So the picture is decoded with two different ends:
    one that is whole does not depend on what follows it.
    """
    body = jpeg.rstrip(b"\0").rstrip(b"\xff")
    ended, continued = body + _END_OF_JPEG, body + _MORE_DATA + _END_OF_JPEG
    with (
        Image.open(io.BytesIO(ended), formats=["JPEG"]) as one,
        Image.open(io.BytesIO(continued), formats=["JPEG"]) as other,
    ):
        _check_pixels(*one.size)
        _load(one)
        _load(other)
        return ended if one.tobytes() == other.tobytes() else None


def _critical_chunks(png: bytes) -> bytes:
    """The PNG without what a viewer may leave out: texts, times, profiles, resolutions."""
    kept, place = [png[:_PNG_SIGNATURE_BYTES]], _PNG_SIGNATURE_BYTES
    while place + 8 <= len(png):
        length, name = struct.unpack_from(">I4s", png, place)
        end = place + 12 + length  # length, name, data, checksum
        if name[:1].isupper():
            kept.append(png[place:end])
        place = end
    return b"".join(kept)


def mended(path: Path) -> bytes | None:
    """An image that no decoder at hand opens, without what is damaged of it; None where pixels
    are missing."""
    with path.open("rb") as file:
        head = file.read(2)
        mend = {_START_OF_JPEG: _with_end_mark, b"\x89P": _critical_chunks}.get(head)
        return mend(head + file.read(_SECOND_READING_BYTES)) if mend else None
