"""Reads the stored answers of a finished run again, by another schema or a better reader.

Nothing is sent. The new parts are drafts until all are written; then run.json names the schema, and
the drafts take their places. Where that was cut short, doing it again completes it.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from omni_batch.annotation.arrow import array_of
from omni_batch.annotation.convert import Violation
from omni_batch.annotation.read import ANNOTATION_RULES, read_annotation
from omni_batch.annotation.schema import AnnotationSchema
from omni_batch.config import parse_config
from omni_batch.counts import Counts
from omni_batch.doubts import Doubt
from omni_batch.errors import AnnotationError, ConfigError
from omni_batch.progress.counters import of_tables
from omni_batch.requests.annotation_schema import load_annotation
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.columns import ATTEMPT_COLUMNS, result_columns, schema
from omni_batch.store.disk import Disk, draft_path, open_new, storage_errors
from omni_batch.store.read import conformed, read_part
from omni_batch.store.record import write_record
from omni_batch.store.remote.copies import shown
from omni_batch.store.trust.marks import vouched

_KIND = AnnotationError("").kind
_READ = ["status", "text", "finish_reason", "warnings", "error_kind"]
_CHANGED = ("status", "warnings", "error_kind", "error_message")


@dataclass(slots=True)
class Reparsed:
    """What was read again, and what changed."""

    answers: int = 0
    now_succeeded: int = 0
    now_failed: int = 0


def reparse_run(directory: RunDir, chosen: AnnotationSchema | None = None) -> Reparsed:
    """Give a finished run the annotations that its texts hold.

    Args:
        chosen: a schema in place of the run's own.

    Raises:
        ConfigError: not a finished run, or there is no schema; nothing was changed.
        StorageError: a part can't be read or written.
    """
    with directory.owned_record() as record:
        if record.state != "finished":
            raise ConfigError(
                f"run {shown(directory.root)} is {record.state}; finish it with resume first"
            )
        wanted = chosen or load_annotation(parse_config(record.config).annotation)
        if wanted is None:
            raise ConfigError(
                f"run {shown(directory.root)} has no schema; give one with --schema FILE"
            )
        durable = record.config.get("durability") == "disk"
        changed = _with_schema(record, chosen) if chosen else record
        return _reparse(RunDir(directory.root, Disk(durable)), changed, wanted)


def _with_schema(record: RunRecord, chosen: AnnotationSchema) -> RunRecord:
    asked = record.config.get("annotation") or {}
    annotation = {**asked, "json_schema": chosen.json_schema, "model": None}
    return msgspec.structs.replace(
        record,
        annotation_schema=chosen.json_schema,
        config={**record.config, "annotation": annotation},
    )


def _reparse(directory: RunDir, record: RunRecord, wanted: AnnotationSchema) -> Reparsed:
    found, counts = Reparsed(), Counts()
    drafts: dict[Path, Path] = {}
    no_attempts = schema(ATTEMPT_COLUMNS).empty_table()
    directory.make_folders()
    for final in map(directory.results, record.shards):
        rows = _reread(read_part(final), wanted, found)
        counts += of_tables(rows, no_attempts)
        drafts[final] = _written(rows, draft_path(final, directory.journals))
    states = {name: getattr(counts, name) for name in ("succeeded", "failed", "failures")}
    counted = msgspec.structs.replace(record.counts, **states)
    record = msgspec.structs.replace(record, counts=counted)
    write_record(directory.record, vouched(directory, record), directory.disk)
    for final, draft in drafts.items():
        directory.disk.publish(draft, final)
    shutil.rmtree(directory.journals, ignore_errors=True)
    return found


def _written(rows: pa.Table, draft: Path) -> Path:
    with storage_errors(draft, "written", pa.ArrowException), open_new(draft) as file:
        pq.write_table(rows, file, compression="zstd")
    return draft


def _reread(part: pa.Table, wanted: AnnotationSchema, found: Reparsed) -> pa.Table:
    """A part of `results` with the annotations that its texts hold."""
    columns = result_columns(wanted.json_schema)
    rows = part.select([*_READ, "error_message"]).to_pylist()
    values = [_read_row(row, wanted, found) for row in rows]
    kept = part.drop_columns(["annotation", *_CHANGED])
    for name in _CHANGED:
        kept = kept.append_column(name, pa.array([row[name] for row in rows], part[name].type))
    kind = schema(columns).field("annotation").type
    return conformed(columns, kept.append_column("annotation", array_of(values, kind)))


def _read_row(row: dict[str, Any], wanted: AnnotationSchema, found: Reparsed) -> Any:
    """The annotation of a row, whose state is brought up to date; None where it has none."""
    if row["text"] is None or row["error_kind"] not in (None, _KIND):
        return None
    found.answers += 1
    before = row["status"]
    others = [text for text in row["warnings"] if Doubt.read(text).rule not in ANNOTATION_RULES]
    try:
        read = read_annotation(row["text"], wanted, cut=row["finish_reason"] == "length")
    except Violation as exc:
        row |= {"status": "failed", "error_kind": _KIND, "error_message": str(exc)}
        row["warnings"] = others
        found.now_failed += before == "succeeded"
        return None
    row |= {"status": "succeeded", "error_kind": None, "error_message": None}
    row["warnings"] = [*others, *map(str, read.doubts)]
    found.now_succeeded += before == "failed"
    return read.value
