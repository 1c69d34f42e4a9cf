"""`media` and `stores`: how files, URLs and objects get to the service."""

from typing import Literal

from pydantic import Field

from omni_batch.config.frozen import Frozen


class MediaConfig(Frozen):
    """How local media are reached."""

    transport: Literal["auto", "url", "inline", "upload"] = "auto"
    """auto: the service fetches http(s) URLs where it can, files travel inline up to its cap and
    by temporary upload above it. url: files are refused. inline: all is sent within the request.
    upload: files are always uploaded first."""
    max_body_bytes: int = Field(default=9_000_000, ge=1)
    """Most bytes of files inside one request where the rest can be uploaded instead."""
    download_max_bytes: int = Field(default=256 * 2**20, ge=1)
    """Largest media that we fetch ourselves, for servers that can't."""
    allow_private_downloads: bool = False
    """Whether we may fetch from loopback and private addresses."""
    probe_urls: Literal["ranges", "head", "off"] | None = None
    """How media behind http(s) URLs are probed. ranges: type, size and length by their first and
    last bytes. head: type and size by what the host says. off: all of it is guessed. None: ranges
    in `check`, off in a run."""
    probe_urls_max: int = Field(default=10_000, ge=1)
    """Most different URLs to probe; the rest is guessed, which is said."""
    fit: Literal["refuse"] = "refuse"
    """refuse: media over a limit fail their item; nothing is converted."""
    roots: tuple[str, ...] = (".",)
    """Folders that local references may lie in, relative to the manifest's folder."""


class StoresConfig(Frozen):
    """What the environment does not say of object stores. Credentials it says alone."""

    addressing: Literal["auto", "path", "virtual"] = "auto"
    """Where a bucket's name goes in addresses of S3's kind. path: behind the host. virtual: before
    it, as OSS wants it. auto: before it at AWS and OSS, else behind it."""
    anonymous: bool = False
    """Whether requests carry no signature, as public buckets take them."""
