"""One compact record for each item, packed while results go by and within a budget of bytes."""

import mimetypes
import os
import re
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pyarrow as pa
import pybase64

from omni_batch.analytics.report.thumbnails import Thumbnails
from omni_batch.analytics.results import input_files
from omni_batch.errors import MediaError
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.read import read_results
from omni_batch.text import is_data_uri, is_url

FIELDS = (
    *("id", "succeeded", "modality", "kind", "model", "endpoint", "answer", "prompt", "wav"),
    *("media", "tokensIn", "tokensOut", "cost", "currency", "latency", "attempts"),
    *("message", "requestId", "speech"),
)
"""The members of a record, in order; the page reads them by these names."""
_NAMED = ("modality", "kind", "model", "endpoint", "currency")
"""Members with few values: the record holds their numbers."""
_COLUMNS = [
    *("item_id", "status", "modality", "error_kind", "model", "endpoint", "text", "prompt"),
    *("audio_path", "media", "prompt_tokens", "completion_tokens", "cost", "currency"),
    *("latency_s", "attempts", "error_message", "request_id", "audio_s"),
]
_MOST_RECORDS = 100_000
_FAILED_FIRST = 30_000
_PACKED_BYTES = 11_500_000  # 15 MB as base64; with the rest of a page below 20 MB
_PACK_RECORDS = 1_000
_TEXT_BYTES = (60, 4_000)  # the least and the most of one answer
_MEDIA_SHOWN = 4
_FIRST_PAGES = 100
_THUMBNAILS = 500
_OF_MODALITY = {"image": "image", "frames": "image", "audio": "audio", "video": "video"}
_FOLDERS_KEPT = 4096
_SPEECH = re.compile(r"audio/[\w-][\w.-]*\.wav", re.ASCII)
"""As `RunDir.speech` names them."""


class Gallery:
    """Takes results in manifest order; gives packs of records that a browser can read."""

    def __init__(self, directory: RunDir, record: RunRecord) -> None:
        self._files = input_files(directory, record, keep_folders=True)
        self._page_folder = directory.root.resolve()
        self._link = lru_cache(_FOLDERS_KEPT)(self._folder_link)
        self.thumbnails = Thumbnails()
        self.names: dict[str, list[str]] = {name: [] for name in _NAMED}
        self.packs: list[bytes] = []
        self.records = 0
        self.seen = 0
        self._failed = 0
        many = record.items > _MOST_RECORDS
        self._every = -(-record.items // (_MOST_RECORDS - _FAILED_FIRST)) if many else 1
        self._thumbnail_every = max(1, record.items // _THUMBNAILS)
        # Text takes about half of a record and packs to half of its size.
        fair_bytes = _PACKED_BYTES // max(1, min(record.items, _MOST_RECORDS))
        self._text_bytes = min(max(fair_bytes, _TEXT_BYTES[0]), _TEXT_BYTES[1])
        self._packed_bytes = 0
        self._waiting: list[list[Any]] = []

    @property
    def left_out(self) -> int:
        """Items that have a result but no record."""
        return self.seen - self.records

    def add(self, results: pa.Table) -> None:
        """Take the rows of one shard."""
        for row in results.to_pylist():
            if self._wanted(row):
                self._waiting.append(self._record(row))
                self.records += 1
            self.seen += 1
            if len(self._waiting) == _PACK_RECORDS:
                self.pack()

    def pack(self) -> None:
        """Pack the records that wait for it."""
        if not self._waiting:
            return
        pack = zlib.compress(msgspec.json.encode(self._waiting), 6)
        self._packed_bytes += len(pack)
        self.packs.append(pack)
        self._waiting = []

    def texts(self) -> Iterator[str]:
        """The packs as a page holds them: base64 of zlib of a JSON list of records."""
        return (pybase64.b64encode(pack).decode() for pack in self.packs)

    def pictures(self) -> Iterator[str]:
        """The thumbnails as data URIs, by number."""
        for picture in self.thumbnails.pictures:
            yield f"data:image/jpeg;base64,{pybase64.b64encode(picture).decode()}"

    def _wanted(self, row: dict[str, Any]) -> bool:
        """Every failed item, within reason; of the others every n-th where they are too many."""
        if self._packed_bytes >= _PACKED_BYTES or self.records >= _MOST_RECORDS:
            return False
        failed = row["status"] != "succeeded"
        self._failed += failed
        if failed and self._failed <= _FAILED_FIRST:
            return True
        return self.seen % self._every == 0

    def _record(self, row: dict[str, Any]) -> list[Any]:
        cut = self._text_bytes
        return [
            row["item_id"],
            int(row["status"] == "succeeded"),
            self._name("modality", row["modality"]),
            self._name("kind", row["error_kind"]),
            self._name("model", row["model"]),
            self._name("endpoint", row["endpoint"]),
            shortened(row["text"], cut),
            shortened(row["prompt"], cut // 4 + 40),
            _speech(row["audio_path"]),
            self._media_of(row),
            row["prompt_tokens"],
            row["completion_tokens"],
            row["cost"],
            self._name("currency", row["currency"]),
            row["latency_s"] and round(row["latency_s"], 3),
            row["attempts"],
            shortened(row["error_message"], cut + 100),
            row["request_id"] if row["error_kind"] else None,
            row["audio_s"] and round(row["audio_s"], 2),
        ]

    def _name(self, member: str, value: str | None) -> int | None:
        if value is None:
            return None
        names = self.names[member]
        if value not in names:
            names.append(value)
        return names.index(value)

    # --- media ---

    def _media_of(self, row: dict[str, Any]) -> list[list[Any]]:
        """[kind, reference, link, thumbnail's number] of the first few; then how many more."""
        references = row["media"] or []
        shown = [self._medium(ref, row["modality"]) for ref in references[:_MEDIA_SHOWN]]
        more = len(references) - len(shown)
        return [*shown, [more]] if more else shown

    def _medium(self, reference: str, modality: str | None) -> list[Any]:
        kind, path = _kind_of(reference, modality), self._file(reference)
        if path is None:
            # Nothing but an http(s) URL may become a link.
            web = reference.startswith(("http://", "https://"))
            return [kind, reference, reference if web else None, None]
        number = None
        if kind in ("image", "video"):
            make = self.records < _FIRST_PAGES or self.records % self._thumbnail_every == 0
            number = self.thumbnails.number(path, kind, make=make)
        return [kind, reference, f"{self._link(path.parent)}/{quote(path.name)}", number]

    def _file(self, reference: str) -> Path | None:
        """None for URLs, for what is not there and for what lies outside media.roots."""
        if self._files is None or is_url(reference) or is_data_uri(reference):
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


def make_gallery(directory: RunDir, record: RunRecord) -> Gallery:
    """The gallery of all results that are written so far.

    Raises:
        StorageError: a part can't be read.
    """
    gallery = Gallery(directory, record)
    for shard_number in range(record.shards):
        gallery.add(read_results(directory, record, shard_number, _COLUMNS))
    gallery.pack()
    return gallery


def shortened(text: str | None, most_bytes: int) -> str | None:
    """A text of so many bytes of UTF-8 at most, with a mark where it was cut."""
    if text is None or len(text) * 4 <= most_bytes:
        return text
    data = text.encode("utf-8", "replace")
    if len(data) <= most_bytes:
        return text
    return data[:most_bytes].decode("utf-8", "ignore").rstrip() + "…"


def _speech(audio_path: str | None) -> str | None:
    """What the page may play: a file of speech of the run itself."""
    return audio_path if audio_path and _SPEECH.fullmatch(audio_path) else None


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
