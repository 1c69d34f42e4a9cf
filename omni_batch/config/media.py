"""`media` and `stores`: how files, URLs and objects get to the service."""

from typing import Literal, Self

from pydantic import Field, model_validator

from omni_batch.config.frozen import Frozen

_OF_FIT = ("fit_video", "fit_cache_bytes", "max_image_tokens", "max_frames", "window_overlap_s")


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
    fit: Literal["refuse", "fit"] = "refuse"
    """refuse: media over a limit fail their item; nothing is converted. fit: files are changed
    until they fit, and each change is said."""
    fit_video: Literal["frames", "cut"] = "frames"
    """What fit makes of a video that is too long. frames: still images spread over all of its
    time, without its sound. cut: its beginning, with sound."""
    fit_cache_bytes: int = Field(default=10 * 2**30, ge=0)
    """Most bytes of changed media that are kept for later runs, in the user's folder of caches."""
    max_image_tokens: int | None = Field(default=None, ge=8)
    """Most prompt tokens of an image; fit scales it down to that. None: what the model sees."""
    max_frames: int | None = Field(default=None, ge=2)
    """Most frames of a list that fit makes of a video. None: what the model takes."""
    window_overlap_s: float = Field(default=2.0, ge=0.5, le=60)
    """How many seconds of a recording two windows share, where fit cuts one that is too long."""
    roots: tuple[str, ...] = (".",)
    """Folders that local references may lie in, relative to the manifest's folder."""

    @model_validator(mode="after")
    def _only_with_fit(self) -> Self:
        fields = type(self).model_fields
        names = [name for name in _OF_FIT if getattr(self, name) != fields[name].default]
        if names and not self.fits:
            raise ValueError(f"{names[0]} needs media.fit: fit, or remove it")
        return self

    @property
    def fits(self) -> bool:
        """Whether media are made to fit."""
        return self.fit == "fit"


class StoresConfig(Frozen):
    """What the environment does not say of object stores. Credentials it says alone."""

    addressing: Literal["auto", "path", "virtual"] = "auto"
    """Where a bucket's name goes in addresses of S3's kind. path: behind the host. virtual: before
    it, as OSS wants it. auto: before it at AWS and OSS, else behind it."""
    anonymous: bool = False
    """Whether requests carry no signature, as public buckets take them."""
