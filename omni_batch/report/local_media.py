"""Media references → what a page in the run directory can link to. Nothing outside media.roots."""

import mimetypes
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from omni_batch.conversation import display_name, is_data_uri, is_url

KINDS = ("image", "audio", "video")
_OF_MODALITY = {"image": "image", "frames": "image", "audio": "audio", "video": "video"}


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

    def path(self, reference: str) -> Path | None:
        """The file; None for URLs, for what is not there and for what lies outside the roots."""
        if is_url(reference) or is_data_uri(reference) or "://" in reference or "\0" in reference:
            return None
        found = Path(os.path.realpath(self._base / reference))  # faster than Path.resolve
        inside = any(found.is_relative_to(root) for root in self._roots)
        return found if inside and found.is_file() else None

    def link(self, path: Path) -> str:
        """A file as the page links to it: relative; on another drive of Windows, as file:."""
        try:
            return quote(Path(os.path.relpath(path, self._start)).as_posix())
        except ValueError:
            return path.as_uri()


def web_link(reference: str) -> str | None:
    """An http(s) URL as a link; nothing else may be one."""
    return reference if reference.startswith(("http://", "https://")) else None


def kind_of(reference: str, modality: str | None) -> str | None:
    """Image, audio or video, for the page only: by the name's ending, else by the item's kind."""
    guessed = mimetypes.guess_type(display_name(reference))[0] or ""
    kind = guessed.partition("/")[0]
    return kind if kind in KINDS else _OF_MODALITY.get(modality or "")
