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
_BASE64 = re.compile(r"[A-Za-z0-9+/_\s-]{40,1024}")
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
    plain = data if data.isalnum() else _plain(data)
    try:
        content = pybase64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError):
        raise MediaError(f"{name} is not base64: encode the file again") from None
    url = f"data:{header[5:-7]};base64,{plain}"
    if url == reference:
        return WrittenOut(content, reference)
    message = f"{name} is not written as the service takes it: sent as data:…;base64,… in one line"
    return WrittenOut(content, url, (Doubt("reference-read-otherwise", message),))


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
    look, is_iso = look_of(head), head[4:8] == b"ftyp"
    if is_iso or (look is not None and look.kind is not None):
        mime_type = look.mime_type if look else "video/mp4"
        shown = f"{reference[:_SHOWN_CHARS]}… ({len(reference):,} characters)"
        raise MediaError(f"{shown} is base64, no name: write data:{mime_type};base64,… before it")
