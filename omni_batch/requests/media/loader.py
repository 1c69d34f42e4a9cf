"""Reference → Media: URLs pass through, files are found, kept inside the roots and probed."""

import asyncio
import os
import stat
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import pybase64

from omni_batch.errors import ConfigError, MediaError
from omni_batch.text import display_name, is_data_uri, is_url
from omni_batch.types import Media

LARGEST_FILE_BYTES = 2 * 2**30
"""The largest medium that any model takes (Qwen3.5-Omni, by URL)."""
_FOLDERS_KEPT = 4096
_AUDIO_FORMAT = "mp3"  # of a URL without a telling ending; the wire wants some value


class MediaLoader:
    """Finds media for one run.

    Args:
        base: folder that relative references start from (the manifest's).
        roots: folders that files may lie in, relative to `base`.
        max_bytes: larger files are refused before a byte of them is read.
        keep_folders: remember where folders lead, which is faster for files that are only shown; a
            folder that becomes a link later would go unnoticed.

    Raises:
        ConfigError: a root does not exist.
    """

    def __init__(
        self,
        base: Path,
        roots: Iterable[str],
        max_bytes: int = LARGEST_FILE_BYTES,
        *,
        keep_folders: bool = False,
    ) -> None:
        self._max_bytes = max_bytes
        self._base = base.resolve()
        self._roots = tuple((self._base / root).resolve() for root in roots)
        self._folder = lru_cache(_FOLDERS_KEPT if keep_folders else 0)(self._look_up)
        for root in self._roots:
            if not root.is_dir():
                raise ConfigError(f"media.roots: {root} is not a folder")

    async def load(self, ref: Media) -> Media:
        """Probe one reference; files are read in a thread.

        Raises:
            MediaError: missing, unreadable, outside the roots, too large, of another kind.
        """
        if is_url(ref.reference):
            ending = Path(urlsplit(ref.reference).path).suffix.lstrip(".").lower()
            form = ending or _AUDIO_FORMAT
            return Media(ref.kind, ref.reference, url=ref.reference, format=form)
        if is_data_uri(ref.reference):
            return self._written_out(ref)
        return await asyncio.to_thread(self._load_file, ref)

    def _load_file(self, ref: Media) -> Media:
        # PyAV and Pillow: not paid for by text-only runs
        from omni_batch.requests.media.probe import probe_file

        return probe_file(self.find(ref.reference), ref.kind, ref.reference)

    def _written_out(self, ref: Media) -> Media:
        name = display_name(ref.reference)
        header, separator, data = ref.reference[5:].partition(",")
        if not separator or not header.endswith(";base64"):
            raise MediaError(f"{name} is not base64; write data:…;base64,…")
        if len(ref.reference) * 3 // 4 > self._max_bytes:
            raise MediaError(
                f"{name} takes {len(ref.reference)} bytes; the limit here is {self._max_bytes:,}"
            )
        try:
            size_bytes = len(pybase64.b64decode(data, validate=True))
        except ValueError as exc:
            raise MediaError(f"{name} is not base64: {exc}") from None
        mime_type = header.partition(";")[0]
        if size_bytes == 0 or (mime_type and not mime_type.startswith(f"{ref.kind}/")):
            found = mime_type if size_bytes else "nothing"
            raise MediaError(f"{name} contains {found}; expected {ref.kind}")
        return replace(
            ref,
            url=ref.reference,
            mime_type=mime_type,
            format=mime_type.rpartition("/")[2] or _AUDIO_FORMAT,
            size_bytes=size_bytes,
        )

    def find(self, reference: str) -> Path:
        """The file of a relative reference.

        Raises:
            MediaError: missing, too large, not a regular file, or outside the roots.
        """
        if "://" in reference:
            name = display_name(reference)[:200]
            raise MediaError(f"{name} is not an http(s) or oss URL; give one of these, or a path")
        try:
            path, inside = self._locate(reference)
            if not inside:
                raise MediaError(f"{reference} lies outside media.roots; add its folder there")
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise MediaError(f"{reference} is not a regular file")
            if status.st_size > self._max_bytes:
                raise MediaError(
                    f"{reference} has {status.st_size:,} bytes; the limit here is "
                    f"{self._max_bytes:,}: give its http(s) URL, or make it smaller"
                )
        except FileNotFoundError:
            raise MediaError(f"{reference} does not exist; check the manifest") from None
        except (OSError, ValueError, RuntimeError) as exc:
            raise MediaError(f"{reference[:200]!r} can't be opened: {exc}") from exc
        return path

    def _locate(self, reference: str) -> tuple[Path, bool]:
        """The path without links, and whether it is inside the roots."""
        # Texts: folders of thousands of references are the same few, and `Path` takes longer.
        folder, name = os.path.split(os.path.join(self._base, reference))  # noqa: PTH118
        resolved, inside = self._folder(folder)
        path = resolved / name
        if not path.is_symlink():
            return path, inside
        path = path.resolve()
        return path, self._is_inside(path)

    def _look_up(self, folder: str) -> tuple[Path, bool]:
        path = Path(folder).resolve()
        return path, self._is_inside(path)

    def _is_inside(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in self._roots)
