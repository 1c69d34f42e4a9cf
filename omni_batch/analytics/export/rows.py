"""Results with the files that belong to them, one row at a time, in manifest order.

And when one file of an export ends and the next begins.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from omni_batch.analytics.export.own_columns import OwnColumns, find_own_columns
from omni_batch.analytics.export.splits import Shares, Splits
from omni_batch.analytics.results import input_files
from omni_batch.errors import MediaError, StorageError
from omni_batch.requests.media import LARGEST_FILE_BYTES
from omni_batch.requests.media.data_uri import read_data_uri
from omni_batch.requests.media.probe import probe
from omni_batch.sources import is_store
from omni_batch.store import RunDir
from omni_batch.store.census import refuse_other_manifest, shortage
from omni_batch.store.columns import result_columns, schema
from omni_batch.store.disk import storage_errors
from omni_batch.store.read import part_batches, read_results, result_batches
from omni_batch.store.record import read_record
from omni_batch.store.remote.speech import speech_here
from omni_batch.text import display_name, is_data_uri, is_url
from omni_batch.types import MediaKind

BATCH_ROWS = 200
MEDIA_COLUMNS = ("audio", "image", "images", "frames", "input_audio", "video")
"""Names of media in a dataset, which no other column may have."""
_encoder = msgspec.json.Encoder(enc_hook=str)
_INPUTS = ["row_number", "image", "audio", "frames"]


@dataclass(frozen=True, slots=True)
class Medium:
    """A file to embed, its bytes, or only a name."""

    reference: str
    """As it may be shown: URLs and paths as they are, data URIs cut short."""
    path: Path | None = None
    data: bytes | None = None
    held: object = None
    """What keeps the file there, where it is not the user's own."""

    @property
    def embeddable(self) -> bool:
        """Is there anything to embed?"""
        return self.path is not None or self.data is not None

    @property
    def size_bytes(self) -> int:
        """Bytes that embedding it takes."""
        return self.path.stat().st_size if self.path else len(self.data or b"")

    def read(self) -> bytes | None:
        """All of its bytes."""
        return self.path.read_bytes() if self.path else self.data


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One result and its media."""

    values: dict[str, Any]
    speech: Medium | None = None
    image: tuple[Medium, ...] = ()
    frames: tuple[Medium, ...] = ()
    input_audio: Medium | None = None
    item: Mapping[str, Any] = field(default_factory=dict)
    """Its row of the manifest, where that was asked for."""

    @property
    def names(self) -> dict[str, Any]:
        """The id of its item; which variant and which sample, in a run that has them."""
        named = {name: self.values[name] for name in ("variant", "sample")}
        given = {name: value for name, value in named.items() if value is not None}
        return {"item_id": self.values["item_id"], **given}

    def media(self) -> tuple[Medium, ...]:
        """All of them."""
        single = tuple(medium for medium in (self.speech, self.input_audio) if medium)
        return (*single, *self.image, *self.frames)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Which columns of media the manifest fills."""

    images: int
    """The most images of one item."""
    frames: bool
    audio: bool
    video: bool


@dataclass(slots=True)
class ExportCounts:
    """What an export did."""

    items: int = 0
    left_out: int = 0
    """Failed items."""
    embedded: int = 0
    """Files."""
    missing: list[str] = field(default_factory=list)
    """The first files that could not be embedded, with the reason."""
    missing_files: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    """Items of each."""
    notes: list[str] = field(default_factory=list)
    """What was decided for the user, a line each."""

    def add(self, items: int, split: str | None) -> None:
        """Count items that are written; below 0 those that were counted and are not."""
        self.items += items
        if split is not None:
            self.splits[split] = self.splits.get(split, 0) + items

    def miss(self, reason: str) -> None:
        """Count a file that is gone."""
        self.missing_files += 1
        if len(self.missing) < 5:
            self.missing.append(reason)


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """The next file begins when either is reached."""

    items: int | None = None
    size_bytes: int = 500_000_000


class ShardCounter:
    """Numbers files, and decides when a new one begins."""

    def __init__(self, limits: ShardLimits) -> None:
        self._limits = limits
        self._items = self._bytes = 0
        self.number = -1

    def is_due(self) -> bool:
        """Does the next item begin a new file?"""
        full = self._limits.items is not None and self._items >= self._limits.items
        return self.number < 0 or full or self._bytes >= self._limits.size_bytes

    def begin(self) -> int:
        """Begin a file; return its number, from 0."""
        self._items = self._bytes = 0
        self.number += 1
        return self.number

    def add(self, size_bytes: int) -> None:
        """Take an item."""
        self._items += 1
        self._bytes += size_bytes


class RunReader:
    """Reads one run for export; keeps a few hundred rows in memory.

    Args:
        shares: of splits; each is then read for itself.

    Raises:
        ConfigError: not a run directory.
        StorageError: it was finished, and rows of it are gone.
    """

    def __init__(
        self, directory: RunDir, *, failed_too: bool, shares: Shares | None = None
    ) -> None:
        self.directory = directory
        self.record = read_record(directory.record)
        refuse_other_manifest(directory, self.record)
        if self.record.state == "finished" and (lack := shortage(directory, self.record)):
            raise StorageError(lack)
        self.counts = ExportCounts()
        self._failed_too = failed_too
        self._shares = shares
        self._loader = input_files(directory, self.record)

    @property
    def splits(self) -> Sequence[str | None]:
        """What is to be read one after the other: names of splits, or None for all rows at once."""
        return self._shares.names if self._shares else (None,)

    @cached_property
    def columns(self) -> pa.Schema:
        """Those of the run's results, with the user's own in place of `source`."""
        return pa.schema([*self._of_results, *self._own.fields()])

    @property
    def own_columns(self) -> Sequence[str]:
        """Names of the user's own."""
        return tuple(self._own.names.values())

    def batches(self, split: str | None = None) -> Iterator[pa.RecordBatch]:
        """Batches of `results` alone, with the columns of `columns`.

        Raises:
            StorageError: a table can't be read.
        """
        for batch in result_batches(self.directory, self.record, BATCH_ROWS):
            succeeded = pc.field("status") == "succeeded"
            kept = batch if self._failed_too else batch.filter(succeeded)
            if split == self.splits[0]:
                self.counts.left_out += len(batch) - len(kept)
            if split is not None:
                kept = kept.filter(pa.array(self._is_in(split, kept["item_id"])))
            self.counts.add(len(kept), split)
            own = self._own.arrays(kept["source"].to_pylist())
            results = [kept[name] for name in self._of_results.names]
            yield pa.record_batch([*results, *own], schema=self.columns)

    def rows(self, split: str | None = None, *, whole: bool = False) -> Iterator[ExportRow]:
        """Results with their media; URLs stay URLs, files must lie in `media.roots`.

        Args:
            whole: with the rows of the manifest.

        Raises:
            StorageError: a table can't be read.
        """
        names = None if whole else _INPUTS
        inputs = (row for batch in self._input_batches(names) for row in batch.to_pylist())
        for batch in self.batches(split):
            for values in batch.to_pylist():
                item = self._input_of(values["row_number"], inputs)
                yield self._row(values, item) if not whole else ExportRow(values, item=item)

    def inputs(self) -> Inputs:
        """What kinds of media there are, found by reading these columns of the manifest."""
        images, frames, audio, video = 0, False, False, False
        for batch in self._input_batches([*_INPUTS, "video"]):
            images = max(images, pc.max(pc.list_value_length(batch["image"])).as_py() or 0)
            frames |= bool(pc.max(pc.list_value_length(batch["frames"])).as_py())
            audio |= batch["audio"].null_count < len(batch)
            video |= batch["video"].null_count < len(batch)
        return Inputs(images, frames, audio, video)

    @cached_property
    def _of_results(self) -> pa.Schema:
        found = schema(result_columns(self.record.annotation_schema))
        return found.remove(found.get_field_index("source"))

    @cached_property
    def _own(self) -> OwnColumns:
        batches = self._input_batches(["source"])
        sources = (source for batch in batches for source in batch["source"].to_pylist())
        found = find_own_columns(sources, {*self._of_results.names, *MEDIA_COLUMNS})
        self.counts.notes += found.notes
        return found

    @cached_property
    def _splits(self) -> Splits:
        return Splits(self._shares or Shares({}), self._ids)

    def _ids(self) -> Iterator[list[str]]:
        for shard_number in self.record.shards:
            rows = read_results(self.directory, self.record, shard_number, ["item_id", "status"])
            kept = rows if self._failed_too else rows.filter(pc.field("status") == "succeeded")
            yield kept["item_id"].to_pylist()

    def _is_in(self, split: str, ids: pa.Array) -> Any:
        return self._splits.numbers(ids.to_pylist()) == self.splits.index(split)

    @property
    def speech(self) -> bool:
        """Was speech requested?"""
        requests = map(self.record.request_of, self.record.variants or (None,))
        return any("audio" in (request.get("modalities") or ()) for request in requests)

    def _input_batches(self, names: list[str] | None) -> Iterator[pa.RecordBatch]:
        return part_batches(self.directory.items, BATCH_ROWS, names)

    def _input_of(self, row_number: int, inputs: Iterator[dict[str, Any]]) -> dict[str, Any]:
        for row in inputs:  # both are in manifest order
            if row["row_number"] == row_number:
                return row
        raise StorageError(f"{self.directory.items} has no row {row_number}; the file was changed")

    def _row(self, values: dict[str, Any], item: dict[str, Any]) -> ExportRow:
        return ExportRow(
            values,
            speech=self._speech(values["audio_path"]),
            image=tuple(self.embedded(reference, "image") for reference in item["image"] or ()),
            frames=tuple(self.embedded(reference, "image") for reference in item["frames"] or ()),
            input_audio=self.embedded(item["audio"], "audio") if item["audio"] else None,
        )

    def _speech(self, audio_path: str | None) -> Medium | None:
        if audio_path is None:
            return None
        folder = self.directory.speech("").parent.resolve()
        path, held = (self.directory.root / audio_path).resolve(), None
        if path.is_relative_to(folder):
            path, held = speech_here(self.directory.root, audio_path)
        if not (held or path.resolve().is_relative_to(folder)) or not _is_wav(path):
            self.counts.miss(f"{audio_path} is not speech in the run directory")
            return Medium(audio_path)
        self.counts.embedded += 1
        return Medium(audio_path, path, held=held)

    def embedded(self, reference: str, kind: MediaKind) -> Medium:
        """A medium of the manifest that goes into the dataset, if it is one still."""
        found = self.find(reference, kind)
        self.counts.embedded += found.path is not None
        return found

    def find(self, reference: str, kind: MediaKind) -> Medium:
        """The same for a medium that is only named."""
        if is_url(reference) or is_store(reference):
            return Medium(reference)
        try:
            if is_data_uri(reference):
                content = read_data_uri(reference, LARGEST_FILE_BYTES).content
                probe(io.BytesIO(content), kind, reference)
                return Medium(display_name(reference), data=content)
            if self._loader is None:
                raise MediaError(f"{reference}: the folder of the manifest does not exist any more")
            found = self._loader.find(reference)
            with storage_errors(found.path, "read"), found.path.open("rb") as file:
                probe(file, kind, reference)  # it may be another file than the one that was sent
        except (MediaError, StorageError) as exc:
            self.counts.miss(str(exc))
            return Medium(display_name(reference))
        return Medium(reference, found.path, held=found.held)


def encode_row(values: Mapping[str, Any]) -> bytes:
    """A row as JSON: days and times in ISO 8601."""
    return _encoder.encode(values)


def _is_wav(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return (head[:4], head[8:]) == (b"RIFF", b"WAVE")
