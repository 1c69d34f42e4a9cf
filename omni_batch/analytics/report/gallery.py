"""One compact record for each item, packed while shards go by and within a budget of bytes."""

import zlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa
import pybase64

from omni_batch.analytics.report.local_media import LocalMedia, kind_of, web_link
from omni_batch.analytics.report.thumbnails import Thumbnails
from omni_batch.store import RunDir, RunRecord

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


class Gallery:
    """Takes results in manifest order; gives packs of records that a browser can read."""

    def __init__(self, directory: RunDir, record: RunRecord) -> None:
        roots = (record.config.get("media") or {}).get("roots") or ["."]
        self._media = LocalMedia(directory.root / record.base_folder, roots, directory.root)
        self.thumbnails = Thumbnails()
        self.names: dict[str, list[str]] = {name: [] for name in _NAMED}
        self.packs: list[bytes] = []
        self.records = 0
        self.seen = 0
        self._failed = 0
        self._every = -(-record.items // (_MOST_RECORDS - _FAILED_FIRST))
        if record.items <= _MOST_RECORDS:
            self._every = 1
        self._thumbnail_every = max(1, record.items // _THUMBNAILS)
        self._fair_bytes = _PACKED_BYTES / max(1, min(record.items, _MOST_RECORDS))
        self._text_bytes = _within(2 * self._fair_bytes)
        self._packed_bytes = 0
        self._waiting: list[list[Any]] = []

    @property
    def left_out(self) -> int:
        """Items that have a result but no record."""
        return self.seen - self.records

    def add(self, results: pa.Table) -> None:
        """Take the rows of one shard."""
        for row in results.select(_COLUMNS).to_pylist():
            if self._wanted(row):
                self._waiting.append(self._record(row))
                self.records += 1
            self.seen += 1
            if len(self._waiting) == _PACK_RECORDS:
                self._pack()

    def close(self) -> None:
        """Pack what is left."""
        self._pack()

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
            row["audio_path"],
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

    def _media_of(self, row: dict[str, Any]) -> list[list[Any]]:
        """[kind, reference, link, thumbnail's number] of the first few; then how many more."""
        references = row["media"] or []
        shown = [self._medium(ref, row["modality"]) for ref in references[:_MEDIA_SHOWN]]
        more = len(references) - len(shown)
        return [*shown, [more]] if more else shown

    def _medium(self, reference: str, modality: str | None) -> list[Any]:
        kind, file = kind_of(reference, modality), self._media.find(reference)
        number, link = None, file.link if file else web_link(reference)
        if file is not None and kind in ("image", "video"):
            make = self.records < _FIRST_PAGES or self.records % self._thumbnail_every == 0
            number = self.thumbnails.number(file.path, kind, make=make)
        return [kind, reference, link, number]

    def _name(self, member: str, value: str | None) -> int | None:
        if value is None:
            return None
        names = self.names[member]
        if value not in names:
            names.append(value)
        return names.index(value)

    def _pack(self) -> None:
        if not self._waiting:
            return
        pack = zlib.compress(msgspec.json.encode(self._waiting), 6)
        self._packed_bytes += len(pack)
        self.packs.append(pack)
        # Texts get longer or shorter, so that all records together come out near the budget.
        ratio = self._fair_bytes * len(self._waiting) / len(pack)
        self._text_bytes = _within(self._text_bytes * min(1.5, max(0.5, ratio)))
        self._waiting = []


def shortened(text: str | None, most_bytes: int) -> str | None:
    """A text of so many bytes of UTF-8 at most, with a mark where it was cut."""
    if text is None or len(text) * 4 <= most_bytes:
        return text
    data = text.encode("utf-8", "replace")
    if len(data) <= most_bytes:
        return text
    return data[:most_bytes].decode("utf-8", "ignore").rstrip() + "…"


def _within(size_bytes: float) -> int:
    least, most = _TEXT_BYTES
    return int(min(most, max(least, size_bytes)))
