"""One compact record for each item, packed while results go by and within a budget of bytes."""

import re
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa
import pybase64

from omni_batch.analytics.report.cells import Cell, Cells, shortened
from omni_batch.analytics.report.facts import TypedAnswers
from omni_batch.analytics.report.media import ShownMedia
from omni_batch.analytics.report.page import data_uri
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.read import read_results
from omni_batch.store.remote.copies import address_of
from omni_batch.store.remote.speech import bring_speech

FIELDS = (
    *("id", "succeeded", "modality", "kind", "model", "endpoint", "answer", "prompt", "wav"),
    *("media", "tokensIn", "tokensOut", "cost", "currency", "latency", "attempts"),
    *("message", "requestId", "speech", "variant", "sample", "cells"),
)
"""The members of a record, in order; the page reads them by these names."""
_NAMED = ("modality", "kind", "model", "endpoint", "currency", "variant")
"""Members with few values: the record holds their numbers."""
_COLUMNS = [
    *("item_id", "status", "modality", "error_kind", "model", "endpoint", "text", "prompt"),
    *("audio_path", "media", "prompt_tokens", "completion_tokens", "cost", "currency"),
    *("latency_s", "attempts", "error_message", "request_id", "audio_s"),
    *("variant", "sample", "annotation"),
]
_MOST_RECORDS = 100_000
_FAILED_FIRST = 30_000
_PACKED_BYTES = 11_500_000  # 15 MB as base64; with the rest of a page below 20 MB
_PACK_RECORDS = 1_000
_TEXT_BYTES = (60, 4_000)  # the least and the most of one answer
_FIRST_PAGES = 100
_THUMBNAILS = 500
_SPEECH_BROUGHT = 500
"""Files of speech that are fetched for a page, of a run that is at a store."""
_SPEECH = re.compile(r"audio/[\w-][\w.-]*\.wav", re.ASCII)
"""As `RunDir.speech` names them."""


class Gallery:
    """Takes results in manifest order; gives packs of records that a browser can read.

    Args:
        annotation: what the typed answers of the run come to, if it has any.
    """

    def __init__(
        self, directory: RunDir, record: RunRecord, annotation: TypedAnswers | None = None
    ) -> None:
        self._root, self._is_copy = directory.root, address_of(directory.root) is not None
        self._to_bring: list[str] = []
        self._brought = 0
        self._media = ShownMedia(directory, record, directory.root)
        self._cells = Cells(record.annotation_schema, annotation)
        self.thumbnails = self._media.thumbnails
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
        self.seen += results.num_rows
        results = results.filter(pa.array(self._chosen(results), pa.bool_()))
        cells = self._cells.of(results["annotation"], self._text_bytes)
        rows = results.drop_columns(["annotation"]).to_pylist()
        for row, its_cells in zip(rows, cells, strict=True):
            if self._has_room:
                self._waiting.append(self._record(row, its_cells))
                self.records += 1
            if len(self._waiting) == _PACK_RECORDS:
                self.pack()
        bring_speech(self._root, self._to_bring)
        self._to_bring = []

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
        return map(data_uri, self.thumbnails.pictures)

    @property
    def _has_room(self) -> bool:
        return self._packed_bytes < _PACKED_BYTES and self.records < _MOST_RECORDS

    def _chosen(self, results: pa.Table) -> list[bool]:
        """Every failed item, within reason; of the others one in n where they are too many.

        By the item's id: of several answers to one question all are there, or none.
        """
        if not self._has_room:
            return [False] * results.num_rows
        columns = (results[name].to_pylist() for name in ("status", "item_id"))
        return [self._is_chosen(*row) for row in zip(*columns, strict=True)]

    def _is_chosen(self, status: str, item_id: str) -> bool:
        failed = status != "succeeded"
        self._failed += failed
        if failed and self._failed <= _FAILED_FIRST:
            return True
        return zlib.crc32(item_id.encode("utf-8", "replace")) % self._every == 0

    def _record(self, row: dict[str, Any], cells: list[Cell] | None) -> list[Any]:
        cut = self._text_bytes
        make = self.records < _FIRST_PAGES or self.records % self._thumbnail_every == 0
        return [
            row["item_id"],
            int(row["status"] == "succeeded"),
            self._name("modality", row["modality"]),
            self._name("kind", row["error_kind"]),
            self._name("model", row["model"]),
            self._name("endpoint", row["endpoint"]),
            _answer(row["text"], cells, cut),
            _shortened(row["prompt"], cut // 4 + 40),
            self._speech(row["audio_path"]),
            self._media.of(row["media"], row["modality"], make=make),
            row["prompt_tokens"],
            row["completion_tokens"],
            row["cost"],
            self._name("currency", row["currency"]),
            row["latency_s"] and round(row["latency_s"], 3),
            row["attempts"],
            _shortened(row["error_message"], cut + 100),
            row["request_id"] if row["error_kind"] else None,
            row["audio_s"] and round(row["audio_s"], 2),
            self._name("variant", row["variant"]),
            row["sample"],
            cells,
        ]

    def _speech(self, audio_path: str | None) -> str | None:
        """What the page may play: a file of speech of the run itself, which is brought here."""
        if not audio_path or not _SPEECH.fullmatch(audio_path):
            return None
        if self._is_copy and not (self._root / audio_path).exists():
            if self._brought >= _SPEECH_BROUGHT:
                return None
            self._brought += 1
            self._to_bring.append(audio_path)
        return audio_path

    def _name(self, member: str, value: str | None) -> int | None:
        if value is None:
            return None
        names = self.names[member]
        if value not in names:
            names.append(value)
        return names.index(value)


def make_gallery(
    directory: RunDir, record: RunRecord, annotation: TypedAnswers | None = None
) -> Gallery:
    """The gallery of all results that are written so far.

    Raises:
        StorageError: a part can't be read.
    """
    gallery = Gallery(directory, record, annotation)
    for shard_number in record.shards:
        gallery.add(read_results(directory, record, shard_number, _COLUMNS))
    gallery.pack()
    return gallery


def _shortened(text: str | None, most_bytes: int) -> str | None:
    return None if text is None else shortened(text, most_bytes)


def _answer(text: str | None, cells: list[Cell] | None, most_bytes: int) -> str | None:
    """Without room for it, the answer is its cells alone."""
    left_bytes = most_bytes - len(msgspec.json.encode(cells)) if cells else most_bytes
    return None if left_bytes < _TEXT_BYTES[0] else _shortened(text, left_bytes)
