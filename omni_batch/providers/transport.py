"""How each medium is transported to the service. Pure.

Order of preference: the URL itself where the server can fetch it, the file within the request up
to the server's cap, then a temporary upload (Model Studio guide, Dec 2025: a data URI stays below
10 MB; larger files want a URL).
"""

from collections.abc import Sequence
from typing import Literal

from omni_batch.config import MediaConfig
from omni_batch.errors import MediaError
from omni_batch.providers.dialect import Dialect
from omni_batch.requests.media import LARGEST_FILE_BYTES
from omni_batch.text import display_name
from omni_batch.types import Media

_LARGEST_UPLOAD_BYTES = 2**30  # of temporary storage (Model Studio, 2026)
_PREFIX_BYTES = 64  # room for "data:…;base64,", which the cap counts too
Transport = Literal["url", "inline", "upload", "download"]
"""`download`: we fetch the URL, then send the file inline or upload it."""


def choose_transports(
    media: Sequence[Media], config: MediaConfig, dialect: Dialect, *, unreachable: bool = False
) -> tuple[Transport, ...]:
    """Choose for all media of one request.

    Args:
        unreachable: the server has failed to fetch them; with `auto` we download them (the vendor's
            remedy: retry twice, then send the bytes).

    How large a whole request may be is documented nowhere, so the largest files are uploaded until
    the others stay below `media.max_body_bytes`.

    Raises:
        MediaError: a medium can't be transported.
    """
    fetch = unreachable and config.transport == "auto"
    transports: list[Transport] = [
        "download" if fetch and _is_web(medium) else choose_transport(medium, config, dialect)
        for medium in media
    ]
    if not dialect.uploads or config.transport != "auto":
        return tuple(transports)
    inline = [position for position, chosen in enumerate(transports) if chosen == "inline"]
    total = sum(encoded_bytes(media[position]) for position in inline)
    for position in sorted(inline, key=lambda position: -encoded_bytes(media[position])):
        if total <= config.max_body_bytes:
            break
        transports[position] = "upload"
        total -= encoded_bytes(media[position])
    return tuple(transports)


def _is_web(media: Media) -> bool:
    return media.object_version is not None or (media.url or "").startswith(("http://", "https://"))


def choose_transport(media: Media, config: MediaConfig, dialect: Dialect) -> Transport:
    """Choose; the same for every attempt.

    Raises:
        MediaError: this config and endpoint allow no transport.
    """
    if media.url is None:
        return _transport_of_file(media, config, dialect)
    stored = media.url.startswith("oss://") and media.object_version is None
    if stored and not dialect.uploads:
        raise MediaError(
            f"{display_name(media.url)} can't be resolved by {dialect.name}; give an http(s) URL"
        )
    fetches = media.kind in dialect.fetches and config.transport != "inline"
    return "url" if fetches or stored or media.url.startswith("data:") else "download"


def largest_file_bytes(config: MediaConfig, dialect: Dialect) -> int:
    """The largest local file that can be transported at all."""
    cap = dialect.inline_max_bytes
    if config.transport == "inline" or not dialect.uploads:
        return LARGEST_FILE_BYTES if cap is None else (cap - _PREFIX_BYTES) // 4 * 3
    return _LARGEST_UPLOAD_BYTES


def encoded_bytes(media: Media) -> int:
    """Length of the file as a data URI, at most."""
    return ((media.size_bytes or 0) + 2) // 3 * 4 + _PREFIX_BYTES


def _transport_of_file(media: Media, config: MediaConfig, dialect: Dialect) -> Transport:
    name, cap = display_name(media.reference), dialect.inline_max_bytes
    if config.transport == "url":
        raise MediaError(f"{name} is a file, and media.transport is url; give its URL")
    if config.transport == "upload":
        return "upload"
    if cap is None or encoded_bytes(media) <= cap:
        return "inline"
    if dialect.uploads and config.transport == "auto":
        return "upload"
    raise MediaError(
        f"{name} takes {encoded_bytes(media):,} bytes inline; the cap is {cap:,}: "
        "give its http(s) URL, or make it smaller"
    )
