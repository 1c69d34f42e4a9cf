"""The media of an item as a page shows them: pictures inside it, links to what lies beside it."""

import mimetypes
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from omni_batch.analytics.report.thumbnails import Thumbnails
from omni_batch.analytics.results import input_files
from omni_batch.errors import MediaError
from omni_batch.requests.media.find import FoundFile
from omni_batch.sources import is_store
from omni_batch.store import RunDir, RunRecord
from omni_batch.text import is_data_uri, is_url

_MEDIA_SHOWN = 4
_OF_MODALITY = {"image": "image", "frames": "image", "audio": "audio", "video": "video"}
_FOLDERS_KEPT = 4096


class ShownMedia:
    """Finds the media of a run for a page that lies in a folder of its own.

    Args:
        page_folder: links are relative to it.
    """

    def __init__(self, directory: RunDir, record: RunRecord, page_folder: Path) -> None:
        self._files = input_files(directory, record, keep_folders=True)
        self._page_folder = page_folder.resolve()
        self._link = lru_cache(_FOLDERS_KEPT)(self._folder_link)
        self.thumbnails = Thumbnails()

    def of(
        self, references: Sequence[str] | None, modality: str | None, *, make: bool
    ) -> list[list[Any]]:
        """[kind, reference, link, thumbnail's number] of the first few; then how many more.

        Args:
            make: whether to make thumbnails that have not been made yet.
        """
        references = references or ()
        shown = [self._medium(ref, modality, make) for ref in references[:_MEDIA_SHOWN]]
        more = len(references) - len(shown)
        return [*shown, [more]] if more else shown

    def _medium(self, reference: str, modality: str | None, make: bool) -> list[Any]:
        kind, file = _kind_of(reference, modality), self._file(reference)
        if file is None:
            # Nothing but an http(s) URL may become a link.
            web = reference.startswith(("http://", "https://"))
            return [kind, reference, reference if web else None, None]
        path, number = file.path, None
        if kind in ("image", "video"):
            number = self.thumbnails.number(path, kind, make=make)
        # A member of an archive has no address of its own.
        link = None if file.held else f"{self._link(path.parent)}/{quote(path.name)}"
        return [kind, reference, link, number]

    def _file(self, reference: str) -> FoundFile | None:
        """None for URLs, for what is not there and for what lies outside media.roots."""
        if self._files is None or is_url(reference) or is_data_uri(reference):
            return None
        if is_store(reference):  # a page is made without a network
            return None
        try:
            return self._files.find(reference)
        except MediaError:
            return None

    def _folder_link(self, folder: Path) -> str:
        """Relative to the page; on another drive of Windows a file: URL."""
        try:
            return quote(Path(os.path.relpath(folder, self._page_folder)).as_posix())
        except ValueError:
            return folder.as_uri()


def _kind_of(reference: str, modality: str | None) -> str | None:
    """Image, audio or video, for the page only: by the name's ending, else by the item's kind."""
    name = reference.partition("?")[0].rpartition("/")[2]
    guessed = _media_type(reference if is_data_uri(reference) else f".{name.rpartition('.')[2]}")
    return guessed if guessed in ("image", "audio", "video") else _OF_MODALITY.get(modality or "")


@lru_cache
def _media_type(ending: str) -> str:
    """Of `.jpg`, or of a data URI."""
    name = ending if is_data_uri(ending) else f"name{ending}"
    return (mimetypes.guess_type(name)[0] or "").partition("/")[0]
