"""Results with the files that belong to them, one row at a time, in manifest order.

And when one file of an export ends and the next begins.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from omni_batch.analytics.results import input_files
from omni_batch.errors import MediaError, StorageError
from omni_batch.requests.media import LARGEST_FILE_BYTES
from omni_batch.requests.media.data_uri import read_data_uri
from omni_batch.requests.media.probe import probe
from omni_batch.store import RunDir
from omni_batch.store.census import refuse_other_manifest, shortage
from omni_batch.store.columns import result_columns, schema
from omni_batch.store.disk import storage_errors
from omni_batch.store.read import part_batches, result_batches
from omni_batch.store.record import read_record
from omni_batch.text import display_name, is_data_uri, is_url
from omni_batch.types import MediaKind

BATCH_ROWS = 200
_encoder = msgspec.json.Encoder(enc_hook=str)
_INPUTS = ["row_number", "image", "audio", "frames"]


@dataclass(frozen=True, slots=True)
class Medium:
    """A file to embed, its bytes, or only a name."""

    reference: str
    """As it may be shown: URLs and paths as they are, data URIs cut short."""
    path: Path | None = None
    data: bytes | None = None

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

    Raises:
        ConfigError: not a run directory.
        StorageError: it was finished, and rows of it are gone.
    """

    def __init__(self, directory: RunDir, *, failed_too: bool) -> None:
        self.directory = directory
        self.record = read_record(directory.record)
        refuse_other_manifest(directory, self.record)
        if self.record.state == "finished" and (lack := shortage(directory, self.record)):
            raise StorageError(lack)
        self.counts = ExportCounts()
        self._failed_too = failed_too
        self._loader = input_files(directory, self.record)

    @property
    def columns(self) -> pa.Schema:
        """Those of the run's results."""
        return schema(result_columns(self.record.annotation_schema))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Batches of `results` alone.

        Raises:
            StorageError: a table can't be read.
        """
        for batch in result_batches(self.directory, self.record, BATCH_ROWS):
            succeeded = pc.field("status") == "succeeded"
            kept = batch if self._failed_too else batch.filter(succeeded)
            self.counts.items += len(kept)
            self.counts.left_out += len(batch) - len(kept)
            yield kept

    def rows(self) -> Iterator[ExportRow]:
        """Results with their media; URLs stay URLs, files must lie in `media.roots`.

        Raises:
            StorageError: a table can't be read.
        """
        inputs = (row for batch in self._input_batches() for row in batch.to_pylist())
        for batch in self.batches():
            for values in batch.to_pylist():
                yield self._row(values, self._input_of(values["row_number"], inputs))

    def inputs(self) -> Inputs:
        """What kinds of media there are, found by reading the three columns of the manifest."""
        images, frames, audio = 0, False, False
        for batch in self._input_batches():
            images = max(images, pc.max(pc.list_value_length(batch["image"])).as_py() or 0)
            frames |= bool(pc.max(pc.list_value_length(batch["frames"])).as_py())
            audio |= batch["audio"].null_count < len(batch)
        return Inputs(images, frames, audio)

    @property
    def speech(self) -> bool:
        """Was speech requested?"""
        request = self.record.config.get("request") or {}
        return "audio" in (request.get("modalities") or ())

    def _input_batches(self) -> Iterator[pa.RecordBatch]:
        return part_batches(self.directory.items, BATCH_ROWS, _INPUTS)

    def _input_of(self, row_number: int, inputs: Iterator[dict[str, Any]]) -> dict[str, Any]:
        for row in inputs:  # both are in manifest order
            if row["row_number"] == row_number:
                return row
        raise StorageError(f"{self.directory.items} has no row {row_number}; the file was changed")

    def _row(self, values: dict[str, Any], item: dict[str, Any]) -> ExportRow:
        return ExportRow(
            values,
            speech=self._speech(values["audio_path"]),
            image=tuple(self._medium(reference, "image") for reference in item["image"] or ()),
            frames=tuple(self._medium(reference, "image") for reference in item["frames"] or ()),
            input_audio=self._medium(item["audio"], "audio") if item["audio"] else None,
        )

    def _speech(self, audio_path: str | None) -> Medium | None:
        if audio_path is None:
            return None
        folder = self.directory.speech("").parent.resolve()
        path = (self.directory.root / audio_path).resolve()
        if not path.is_relative_to(folder) or not _is_wav(path):
            self.counts.miss(f"{audio_path} is not speech in the run directory")
            return Medium(audio_path)
        self.counts.embedded += 1
        return Medium(audio_path, path)

    def _medium(self, reference: str, kind: MediaKind) -> Medium:
        if is_url(reference):
            return Medium(reference)
        try:
            if is_data_uri(reference):
                content = read_data_uri(reference, LARGEST_FILE_BYTES).content
                probe(io.BytesIO(content), kind, reference)
                return Medium(display_name(reference), data=content)
            if self._loader is None:
                raise MediaError(f"{reference}: the folder of the manifest does not exist any more")
            path = self._loader.find(reference)
            with storage_errors(path, "read"), path.open("rb") as file:
                probe(file, kind, reference)  # it may be another file than the one that was sent
        except (MediaError, StorageError) as exc:
            self.counts.miss(str(exc))
            return Medium(display_name(reference))
        self.counts.embedded += 1
        return Medium(reference, path)


def encode_row(values: dict[str, Any]) -> bytes:
    """A row as JSON; its column of JSON text becomes the values that it holds."""
    return _encoder.encode(values | {"source": _parsed(values.get("source"))})


def _parsed(text: str | None) -> Any:
    try:
        return None if text is None else msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _is_wav(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return (head[:4], head[8:]) == (b"RIFF", b"WAVE")
