"""Which way each medium goes to the service. Pure.

Order of preference: the URL as it is where the server can fetch it, the file within the request up
to the server's cap, then a temporary upload (Model Studio guide, Dec 2025: a data URI stays below
10 MB; larger files want a URL).
"""

from collections.abc import Sequence
from typing import Literal

from omni_batch.config import MediaConfig
from omni_batch.errors import MediaError
from omni_batch.providers.dialect import Dialect
from omni_batch.requests.media import LARGEST_FILE_BYTES
from omni_batch.text import display_name, is_data_uri
from omni_batch.types import Media

_LARGEST_UPLOAD_BYTES = 2**30  # of temporary storage (Model Studio, 2026)
_PREFIX_BYTES = 64  # room for "data:…;base64,", which the cap counts too
Way = Literal["url", "inline", "upload", "download"]


def choose_transports(
    media: Sequence[Media], config: MediaConfig, dialect: Dialect, *, unreachable: bool = False
) -> tuple[Way, ...]:
    """Choose for all media of one request.

    Args:
        unreachable: the server has failed to fetch them; under `auto` we do it then (the vendor's
            remedy: retry twice, then send the bytes).

    How large a whole request may be is documented nowhere, so the largest files are uploaded until
    the others stay below `media.max_body_bytes`.

    Raises:
        MediaError: a medium has no way.
    """
    ways = [choose_transport(medium, config, dialect) for medium in media]
    if unreachable and config.transport == "auto":
        pairs = zip(media, ways, strict=True)
        ways = ["download" if _is_web(medium) else way for medium, way in pairs]
    if not dialect.uploads or config.transport != "auto":
        return tuple(ways)
    inline = [position for position, way in enumerate(ways) if way == "inline"]
    total = sum(encoded_bytes(media[position]) for position in inline)
    for position in sorted(inline, key=lambda position: -encoded_bytes(media[position])):
        if total <= config.max_body_bytes:
            break
        ways[position] = "upload"
        total -= encoded_bytes(media[position])
    return tuple(ways)


def _is_web(media: Media) -> bool:
    return (media.url or "").startswith(("http://", "https://"))


def choose_transport(media: Media, config: MediaConfig, dialect: Dialect) -> Way:
    """Choose; the same for every attempt.

    Raises:
        MediaError: there is no way under this config and endpoint.
    """
    if media.url is None:
        return _way_of_file(media, config, dialect)
    if is_data_uri(media.url):
        return "url"
    if media.url.startswith("oss://"):
        if not dialect.uploads:
            raise MediaError(f"{media.url} means nothing to {dialect.name}; give an http(s) URL")
        return "url"
    fetches = media.kind in dialect.fetches and config.transport != "inline"
    return "url" if fetches else "download"


def largest_file_bytes(config: MediaConfig, dialect: Dialect) -> int:
    """The largest local file that has any way at all."""
    cap = dialect.inline_max_bytes
    if config.transport == "inline" or not dialect.uploads:
        return LARGEST_FILE_BYTES if cap is None else (cap - _PREFIX_BYTES) // 4 * 3
    return _LARGEST_UPLOAD_BYTES


def encoded_bytes(media: Media) -> int:
    """Length of the file as a data URI, at most."""
    return ((media.size_bytes or 0) + 2) // 3 * 4 + _PREFIX_BYTES


def _way_of_file(media: Media, config: MediaConfig, dialect: Dialect) -> Way:
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
