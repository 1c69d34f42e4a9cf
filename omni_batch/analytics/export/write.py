"""`export_run`: all formats."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import pyarrow as pa

from omni_batch.analytics.export.atomic import draft_folder, refuse_existing
from omni_batch.analytics.export.flat import write_csv, write_jsonl
from omni_batch.analytics.export.hugging_face import write_hf
from omni_batch.analytics.export.label_studio import write_label_studio
from omni_batch.analytics.export.messages import write_messages
from omni_batch.analytics.export.rows import ExportCounts, RunReader, ShardLimits
from omni_batch.analytics.export.splits import Shares
from omni_batch.analytics.export.web_dataset import write_webdataset
from omni_batch.errors import ConfigError, StorageError
from omni_batch.store import RunDir
from omni_batch.store.disk import draft_of


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to write."""

    failed_too: bool = False
    """jsonl and csv have failed items always, messages never, the others if this is true."""
    limits: ShardLimits = field(default_factory=ShardLimits)
    licence: str | None = None
    shares: Shares | None = None
    """Of splits; jsonl, csv and messages are then a folder with a file for each."""


Format = Literal["hf", "webdataset", "jsonl", "csv", "label-studio", "messages"]
_ALWAYS_ALL = ("jsonl", "csv")
_FILES: Mapping[str, tuple[str, Callable[[RunReader, str | None, BinaryIO], None]]] = {
    "jsonl": ("jsonl", write_jsonl),
    "csv": ("csv", write_csv),
    "messages": ("jsonl", write_messages),
}
"""Formats of one file: its ending, and what writes it."""


def export_run(
    directory: RunDir, to: Format, dest: Path, options: ExportOptions | None = None
) -> ExportCounts:
    """Write the results there are so far to `dest`, whole or not at all.

    Raises:
        ConfigError: not a run directory, `dest` exists and is not empty, or messages are asked for
            with failed items.
        StorageError: not readable or writable, disk full.
    """
    options = options or ExportOptions()
    if to == "messages" and options.failed_too:
        raise ConfigError("--to messages has no place for failed items: they have no answer")
    failed_too = options.failed_too or to in _ALWAYS_ALL
    reader = RunReader(directory, failed_too=failed_too, shares=options.shares)
    try:
        if to in _FILES and options.shares is None:
            _write_file(reader, to, dest)
        else:
            with draft_folder(dest) as draft:
                _fill(reader, to, draft, dest, options)
    except pa.ArrowException as exc:
        raise StorageError(f"{dest} can't be written: {exc}") from exc
    return reader.counts


def _write_file(reader: RunReader, to: Format, dest: Path) -> None:
    refuse_existing(dest, folder=False)
    dest.parent.mkdir(parents=True, exist_ok=True)
    _, write = _FILES[to]
    with draft_of(dest) as file:
        write(reader, None, file)


def _fill(reader: RunReader, to: Format, draft: Path, dest: Path, options: ExportOptions) -> None:
    """Write what becomes the folder `dest`."""
    match to:
        case "hf":
            write_hf(reader, draft, options.limits, options.licence)
        case "webdataset":
            write_webdataset(reader, draft, options.limits)
        case "label-studio":
            write_label_studio(reader, draft, dest.resolve().name)
        case _:
            ending, write = _FILES[to]
            for split in reader.splits:
                with (draft / f"{split}.{ending}").open("wb") as file:
                    write(reader, split, file)
