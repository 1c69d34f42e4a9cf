"""Media references → files that a page in the run directory links to, inside media.roots only."""

import mimetypes
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from omni_batch.text import display_name, is_data_uri, is_url

KINDS = ("image", "audio", "video")
_OF_MODALITY = {"image": "image", "frames": "image", "audio": "audio", "video": "video"}
_FOLDERS_KEPT = 4096


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file that may be shown."""

    path: Path
    link: str
    """Relative to the page; on another drive of Windows, a file: URL."""


class LocalMedia:
    """Finds the files of a run's media from its own folder.

    Args:
        base: folder that relative references start from.
        roots: folders that files may lie in, relative to `base`.
        start: the folder of the page.
    """

    def __init__(self, base: Path, roots: Iterable[str], start: Path) -> None:
        self._base = base.resolve()
        self._roots = [(self._base / root).resolve() for root in roots]
        self._start = start.resolve()
        # Files of one folder follow one another; to resolve each anew took most of the time.
        self._folder = lru_cache(_FOLDERS_KEPT)(self._look_up)

    def find(self, reference: str) -> LocalFile | None:
        """The file; None for URLs, for what is not there and for what lies outside the roots."""
        if is_url(reference) or is_data_uri(reference) or "://" in reference or "\0" in reference:
            return None
        path = self._base / reference
        folder = self._folder(path.parent)
        if path.is_symlink():
            path = path.resolve()
            folder = self._folder(path.parent)
        if folder is None or not path.is_file():
            return None
        return LocalFile(folder.path / path.name, f"{folder.link}/{quote(path.name)}")

    def _look_up(self, folder: Path) -> LocalFile | None:
        """A folder whose files may be shown."""
        path = folder.resolve()
        if not any(path.is_relative_to(root) for root in self._roots):
            return None
        try:
            return LocalFile(path, quote(Path(os.path.relpath(path, self._start)).as_posix()))
        except ValueError:
            return LocalFile(path, path.as_uri())


def web_link(reference: str) -> str | None:
    """An http(s) URL as a link; nothing else may be one."""
    return reference if reference.startswith(("http://", "https://")) else None


def kind_of(reference: str, modality: str | None) -> str | None:
    """Image, audio or video, for the page only: by the name's ending, else by the item's kind."""
    guessed = mimetypes.guess_type(display_name(reference))[0] or ""
    kind = guessed.partition("/")[0]
    return kind if kind in KINDS else _OF_MODALITY.get(modality or "")
