"""Images by Pillow: what a closer look finds, and the image anew.

Large images are worked on in strips: beside the decoded image itself, memory holds little.
"""

import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageCms, ImageFile, ImageOps
from pillow_heif import register_heif_opener

from omni_batch.changes import ImageChange, ImageTraits
from omni_batch.errors import MediaError
from omni_batch.fitting.codecs.files import written
from omni_batch.fitting.made import Made
from omni_batch.requests.media.image import mended
from omni_batch.requests.media.room import MOST_PIXELS

T = TypeVar("T")
FORMATS = (
    *("AVIF", "BMP", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "PNG", "PSD", "TIFF"),
    "WEBP",
)
"""Pillow's names of what is read; all are pictures in themselves, none names other files."""
_LOSSLESS = ("BMP", "GIF", "ICO", "PNG", "PSD", "TIFF")
_ORIENTATION = 0x0112
_MIRRORED = (2, 4, 5, 7)
_STRIP_PIXELS = 4_000_000
_LEAST_QUALITY = 40
_SMALLER = 0.8
_LEAST_PX = 11
_SRGB = ImageCms.createProfile("sRGB")

register_heif_opener(thumbnails=False)
ImageFile.LOAD_TRUNCATED_IMAGES = False


def look_at_image(path: Path) -> ImageTraits:
    """What the header says; pixels are decoded only where they might be transparent.

    Raises:
        Exception: Pillow raises whatever a broken file makes it stumble over.
    """
    return _read(path, _traits)


def _traits(image: Image.Image) -> ImageTraits:
    return ImageTraits(
        *image.size,
        orientation=_orientation(image),
        transparent=_has_alpha(image) and _lets_through(image),
        profile=_foreign_profile(image),
        deep=_is_deep(image),
        inks=image.mode in ("CMYK", "LAB"),
        pages=1 if image.format == "MPO" else getattr(image, "n_frames", 1),
        lossless=image.format in _LOSSLESS,
    )


def make_image(path: Path, folder: Path, change: ImageChange) -> Made:
    """The image as it is to be sent, in a folder.

    Raises:
        MediaError: it has too many pixels, or can't be made small enough.
        Exception: as of `look_at_image`.
    """
    wanted_px = change.width_px, change.height_px
    made, doubts = _read(path, lambda image: _shown(image, wanted_px))
    data, sent, form = _encoded(made, change)
    file = written(folder / f"0.{form}", data, form, f"image/{form}", size_px=sent.size)
    return Made((file,), doubts)


def encode_jpeg(
    image: Image.Image, max_bytes: int | None, best: int = 90
) -> tuple[bytes, Image.Image]:
    """A JPEG of at most so many bytes, and the picture as it was scaled for that.

    Args:
        best: quality to begin with.

    Raises:
        MediaError: it can't be made so small.
    """
    while True:
        for quality in range(best, _LEAST_QUALITY - 1, -10):
            data = _jpeg(image, quality)
            if max_bytes is None or len(data) <= max_bytes:
                return data, image
        if min(image.size) < _LEAST_PX:
            raise MediaError(f"it can't be made smaller than {max_bytes:,} bytes")
        image = _scaled_down(image)


def _read(path: Path, use: Callable[[Image.Image], T]) -> T:
    """What comes of an image; of one that is damaged, where none of its pixels are.

    Raises:
        MediaError: some of them are.
    """
    try:
        with _bounded(Image.open(path, formats=FORMATS)) as image:
            return use(image)
    except (MediaError, MemoryError):
        raise
    except Exception as exc:  # whatever a broken file makes Pillow stumble over
        if (whole := mended(path)) is None:
            raise MediaError("it is cut off or damaged: make or download it again") from exc
    with _bounded(Image.open(io.BytesIO(whole), formats=FORMATS)) as image:
        return use(image)


def _bounded(image: Image.Image) -> Image.Image:
    if image.width * image.height > MOST_PIXELS:
        raise MediaError(f"it has {image.width} x {image.height} pixels: more than are opened")
    return image


# --- traits ---


def _orientation(image: Image.Image) -> int:
    if image.format in ("HEIF", "TIFF"):  # which Pillow and libheif turn themselves
        return 1
    if image.format == "PNG" and not _png_has_exif(image):  # asking would decode its pixels
        return 1
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata turns nothing
        return 1
    return found if isinstance(found, int) and 2 <= found <= 8 else 1


def _png_has_exif(image: Image.Image) -> bool:
    """Metadata may follow the pixels: only the names of chunks are read."""
    if not {"exif", "xmp", "XML:com.adobe.xmp"}.isdisjoint(image.info):
        return True
    file: Any = getattr(image, "fp", None)
    if file is None:
        return False
    place, at = file.tell(), 8
    try:
        file.seek(at)
        while len(head := file.read(8)) == 8:
            if head[4:] == b"eXIf":
                return True
            at += 12 + int.from_bytes(head[:4], "big")
            file.seek(at)
        return False
    finally:
        file.seek(place)


def _is_deep(image: Image.Image) -> bool:
    """More than 8 bits a sample. Of colours in a PNG Pillow itself leaves out the lower ones."""
    tiles: Any = getattr(image, "tile", None)
    raw = str(tiles[0].args) if image.format == "PNG" and tiles else ""
    return image.mode.startswith(("I", "F")) or "16" in raw


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _lets_through(image: Image.Image) -> bool:
    return any(
        np.asarray(strip.convert("RGBA").getchannel("A")).min() < 255 for strip in _strips(image, 1)
    )


def _foreign_profile(image: Image.Image) -> str | None:
    data = image.info.get("icc_profile")
    if not data:
        return None
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(data))).strip()
    except Exception:  # damaged: nobody can heed it
        return "unreadable"
    return None if "srgb" in name.lower() else name or "unnamed"


# --- what is shown ---


def _shown(
    image: Image.Image, wanted_px: tuple[int, int]
) -> tuple[Image.Image, tuple[tuple[str, str], ...]]:
    """The picture upright, in plain sRGB, in the size that is wanted."""
    orientation = _orientation(image)
    stored_px = wanted_px[::-1] if orientation >= 5 else wanted_px
    image.draft("RGB", stored_px)  # a JPEG is decoded no larger than needed
    factor = max(1, min(image.width // stored_px[0], image.height // stored_px[1]) // 2)
    to_rgb, doubts = _conversion(image)
    image.load()
    made = _small(image, to_rgb, factor)
    if made.size != stored_px:
        made = made.resize(stored_px, Image.Resampling.LANCZOS)
    made.info.clear()
    return _turned(made, orientation), doubts


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    if orientation == 1:
        return image
    image.getexif()[_ORIENTATION] = orientation
    return ImageOps.exif_transpose(image)


def _small(
    image: Image.Image, to_rgb: Callable[[Image.Image], Image.Image], factor: int
) -> Image.Image:
    """RGB, by a whole factor smaller."""
    size_px = math.ceil(image.width / factor), math.ceil(image.height / factor)
    made, top = Image.new("RGB", size_px), 0
    for strip in _strips(image, factor):
        plain = to_rgb(strip)
        made.paste(plain.reduce(factor) if factor > 1 else plain, (0, top))
        top += math.ceil(strip.height / factor)
    return made


def _strips(image: Image.Image, factor: int) -> Iterator[Image.Image]:
    rows = max(1, _STRIP_PIXELS // max(1, image.width) // factor) * factor
    if rows >= image.height:
        yield image
        return
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        strip.info = image.info
        yield strip


def _conversion(
    image: Image.Image,
) -> tuple[Callable[[Image.Image], Image.Image], tuple[tuple[str, str], ...]]:
    """How a strip becomes RGB; the same for all strips, and what is doubtful about it."""
    profile, doubts = _transform(image)
    white = _white(image) if image.mode.startswith(("I", "F")) else None

    def to_rgb(strip: Image.Image) -> Image.Image:
        strip = strip if white is None else _eight_bits(strip, white)
        clear = _has_alpha(strip)
        alpha = strip.convert("RGBA").getchannel("A") if clear else None
        if strip.mode not in ("RGB", "CMYK", "L", "LAB"):
            strip = strip.convert("RGBA").convert("RGB") if clear else strip.convert("RGB")
        if profile is not None:
            strip = profile(strip)
        strip = strip.convert("RGB")
        return (
            Image.composite(strip, Image.new("RGB", strip.size, "white"), alpha) if alpha else strip
        )

    return to_rgb, doubts


def _transform(
    image: Image.Image,
) -> tuple[Callable[[Image.Image], Image.Image] | None, tuple[tuple[str, str], ...]]:
    if _foreign_profile(image) is None:
        return None, ()
    mode = image.mode if image.mode in ("CMYK", "L", "LAB") else "RGB"
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        space = profile.profile.xcolor_space.strip()
        if space == "GRAY":
            mode = "L"
        found = ImageCms.buildTransform(profile, _SRGB, mode, "RGB")
    except Exception:
        said = "the colour profile of {name} can't be used: its colours are sent as stored"
        return None, (("colours-unsure", said),)

    def apply(strip: Image.Image) -> Image.Image:
        strip = strip if strip.mode == mode else strip.convert(mode)
        return ImageCms.applyTransform(strip, found) or strip

    return apply, ()


def _white(image: Image.Image) -> float:
    """The value that is white, of grey of 16 or 32 bits: 65,535, 1.0, or the lightest there is."""
    extremes: Any = image.getextrema()
    top = float(extremes[1])
    if image.mode != "F":
        return max(65_535.0, top)
    return 1.0 if top <= 1 else max(255.0, top)


def _eight_bits(image: Image.Image, white: float) -> Image.Image:
    values: Any = np.asarray(image).astype(np.float32)
    return Image.fromarray(np.clip(values * (255 / white), 0, 255).round().astype(np.uint8))


# --- encoding ---


def _encoded(image: Image.Image, change: ImageChange) -> tuple[bytes, Image.Image, str]:
    if change.form == "png":
        data = _png(image)
        if change.max_bytes is None or len(data) <= change.max_bytes:
            return data, image, "png"
    return *encode_jpeg(image, change.max_bytes), "jpeg"


def _scaled_down(image: Image.Image) -> Image.Image:
    width_px, height_px = (max(1, round(side * _SMALLER)) for side in image.size)
    return image.resize((width_px, height_px), Image.Resampling.LANCZOS)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
