"""`export_run`: all formats."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import pyarrow as pa

from omni_batch.analytics import table_files
from omni_batch.analytics.export.atomic import draft_folder, refuse_existing
from omni_batch.analytics.export.hugging_face import write_hf
from omni_batch.analytics.export.rows import ExportCounts, RunReader, ShardLimits, encode_row
from omni_batch.analytics.export.web_dataset import write_webdataset
from omni_batch.errors import StorageError
from omni_batch.store import RunDir


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to write."""

    failed_too: bool = False
    """hf and webdataset leave failed items out; jsonl and csv never do."""
    limits: ShardLimits = field(default_factory=ShardLimits)
    licence: str | None = None


Format = Literal["hf", "webdataset", "jsonl", "csv"]


def export_run(
    directory: RunDir, to: Format, dest: Path, options: ExportOptions | None = None
) -> ExportCounts:
    """Write the results there are so far to `dest`, whole or not at all.

    Raises:
        ConfigError: not a run directory, or `dest` exists and is not empty.
        StorageError: not readable or writable, disk full.
    """
    options = options or ExportOptions()
    if to in ("csv", "jsonl"):
        return _write_flat(directory, to, dest)
    reader = RunReader(directory, failed_too=options.failed_too)
    with draft_folder(dest) as draft:
        try:
            if to == "hf":
                write_hf(reader, draft, options.limits, options.licence)
            else:
                write_webdataset(reader, draft, options.limits)
        except pa.ArrowException as exc:
            raise StorageError(f"{dest} can't be written: {exc}") from exc
    return reader.counts


def _write_flat(directory: RunDir, to: Format, dest: Path) -> ExportCounts:
    reader = RunReader(directory, failed_too=True)
    refuse_existing(dest, folder=False)
    dest.parent.mkdir(parents=True, exist_ok=True)
    write = table_files.write_csv if to == "csv" else _write_jsonl
    rows = pa.RecordBatchReader.from_batches(reader.columns, reader.batches())
    table_files.write_file(dest, write, rows)
    return reader.counts


def _write_jsonl(rows: pa.RecordBatchReader, file: BinaryIO) -> None:
    for batch in rows:
        file.writelines(encode_row(values) + b"\n" for values in batch.to_pylist())
