"""Media that are written out in the manifest: `data:` URIs, and base64 that should be one. Pure.

RFC 2397; the service takes `data:…;base64,…` and lets the stated type decide nothing (Model Studio
guide, Dec 2025: its samples leave the type of sound and video out).
"""

import binascii
import re
from dataclasses import dataclass

import pybase64

from omni_batch.doubts import Doubt
from omni_batch.errors import MediaError
from omni_batch.requests.media.sniff import look_of
from omni_batch.text import BLANKS, display_name

_WHITE = re.compile(r"\s+")
_LOOKED_AT = 1024
_SIGN = r"[A-Za-z0-9+/_\s-]"
_BASE64 = re.compile(rf"{_SIGN}{{{_LOOKED_AT}}}|{_SIGN}{{40,}}={{0,2}}\s*\Z")
"""A path has a dot sooner or later: `/workshop` alone would be the beginning of a JPEG XL."""
_STREAMS = {
    "video/mp4": (4, b"ftyp"),
    "video/webm": (0, b"\x1a\x45\xdf\xa3"),
    "audio/ogg": (0, b"OggS"),
    "video/x-flv": (0, b"FLV\1"),
}
"""Containers of sound or pictures, which only their streams tell: where they begin, and how."""
_SHOWN_CHARS = 24
_AS_IN_URLS = str.maketrans("-_", "+/")


@dataclass(frozen=True, slots=True)
class WrittenOut:
    """A data URI, decoded."""

    content: bytes
    url: str
    """As the service takes it: the reference itself, wherever that will do."""
    doubts: tuple[Doubt, ...] = ()


def read_data_uri(reference: str, max_bytes: int) -> WrittenOut:
    """Decode a data URI; line breaks, missing padding and the alphabet of URLs are put right.

    Raises:
        MediaError: it is not base64, or holds more than `max_bytes`.
    """
    name, uri = display_name(reference), reference.strip(BLANKS)
    header, comma, data = uri.partition(",")
    if not comma or not header.lower().endswith(";base64"):
        raise MediaError(f"{name} is not base64; write data:…;base64,…")
    if len(data) * 3 // 4 > max_bytes:
        raise MediaError(
            f"{name} holds {len(data) * 3 // 4:,} bytes; the limit here is {max_bytes:,}: give an "
            "http(s) URL, or make it smaller"
        )
    content, plain = _decoded(data), data
    if content is None:
        plain = _plain(data)
        content = _decoded(plain)
    if content is None:
        raise MediaError(f"{name} is not base64: encode the file again")
    url = f"data:{header[5:-7]};base64,{plain}"
    if url == reference:
        return WrittenOut(content, reference)
    message = f"{name} is not written as the service takes it: sent as data:…;base64,… in one line"
    return WrittenOut(content, url, (Doubt("reference-read-otherwise", message),))


def _decoded(data: str) -> bytes | None:
    try:
        return pybase64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None


def _plain(data: str) -> str:
    text = _WHITE.sub("", data)
    if "-" in text or "_" in text:
        text = text.translate(_AS_IN_URLS)
    return text + "=" * (-len(text) % 4) if "=" not in text else text


def refuse_bare_base64(reference: str) -> None:
    """Say what is missing where a reference is the base64 of a medium.

    Raises:
        MediaError: it is.
    """
    if (beginning := _BASE64.match(reference)) is None:
        return
    text = _WHITE.sub("", beginning[0]).translate(_AS_IN_URLS)
    head = pybase64.b64decode(text[: len(text) // 4 * 4])
    look = look_of(head)
    streams = (kind for kind, (at, mark) in _STREAMS.items() if head.startswith(mark, at))
    mime_type = look.mime_type if look and look.kind else next(streams, None)
    if mime_type is None and len(beginning[0]) == _LOOKED_AT and head[0] == 0xFF:
        mime_type = ""  # a frame of MP3 or AAC, and no name is so long without a dot
    if mime_type is not None:
        shown = f"{reference[:_SHOWN_CHARS]}… ({len(reference):,} characters)"
        raise MediaError(f"{shown} is base64, no name: write data:{mime_type};base64,… before it")
