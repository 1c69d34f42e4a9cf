"""Endings of media files, and what of a cell looks like a medium. Pure.

Endings decide nothing once a medium is found: they only tell columns and folders apart.
"""

from collections.abc import Mapping
from typing import Any, Literal

from omni_batch.types import MediaKind

_ENDINGS: dict[MediaKind, str] = {
    "image": "avif bmp gif heic heif jfif jpe jpeg jpg png tif tiff webp",
    "audio": "aac aif aiff amr au caf flac m4a m4b mka mp3 oga ogg opus wav weba wma",
    "video": "3g2 3gp avi flv m2ts m4v mkv mov mp4 mpeg mpg mts ogv ts webm wmv",
}
KIND_OF_ENDING: Mapping[str, MediaKind] = {
    ending: kind for kind, endings in _ENDINGS.items() for ending in endings.split()
}
_URLS = ("http://", "https://", "oss://", "s3://", "gs://", "hf://", "file://")
_BASE64 = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "SUQz", "T2dnU", "AAAA", "GkXfo", "ZkxhQ")
"""How JPEG, PNG, GIF, RIFF, ID3, Ogg, MP4, Matroska and FLAC begin in base64."""
_SURELY_BASE64 = 200  # characters
_LONGEST = 4096  # characters of an address or a path

Look = MediaKind | Literal["url", "data", "file"] | None
"""What a cell looks like: a kind by its ending, some address, a medium written out, a file that is
there, or none."""


def ending(name: str) -> str:
    """Behind the last dot of a path or URL, in small letters; empty where there is none."""
    last = name.rstrip()[-16:].rpartition("/")[2]
    return last.rpartition(".")[2].lower() if "." in last else ""


def is_plain(value: Any) -> bool:
    """Whether a cell is text that can't look like anything; says so at once for most texts."""
    return (
        isinstance(value, str)
        and "." not in value[-16:]
        and ":" not in value[:16]
        and not value.startswith(_BASE64)
    )


def look_of(value: Any) -> Look:
    """What a cell looks like, judged by itself alone."""
    if isinstance(value, str):
        return _look_of_text(value)
    if isinstance(value, bytes):
        return "data"
    if isinstance(value, Mapping):
        return _look_of_struct(value)
    if isinstance(value, list | tuple):
        return next((look for look in map(look_of, value[:8]) if look), None)
    return None


def _look_of_text(text: str) -> Look:
    if is_plain(text):
        return None
    if len(text) > _SURELY_BASE64 and text.startswith(_BASE64) and " " not in text[:100]:
        return "data"
    if text.startswith("data:"):
        return _kind_of_type(text[5:20])
    if len(text) > _LONGEST or "\n" in text.strip():
        return None
    if text.strip()[:8].lower().startswith(_URLS):
        address = text.partition("?")[0].partition("#")[0]
        return KIND_OF_ENDING.get(ending(address), "url")
    return KIND_OF_ENDING.get(ending(text)) if " " not in text.strip() else None


def _kind_of_type(mime_type: str) -> Look:
    kind = mime_type.partition("/")[0]
    known: dict[str, Look] = {"image": "image", "audio": "audio", "video": "video"}
    return known.get(kind, None if kind == "text" else "data")


def _look_of_struct(struct: Mapping[str, Any]) -> Look:
    if struct.keys() & {"bytes", "array"}:
        return look_of(struct.get("path")) or "data"
    return look_of(struct.get("path") or struct.get("url"))
