"""What must hold of a run directory after any crash and its resume (the laws of a run)."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import soundfile

from omni_batch.store import RunDir
from omni_batch.store.read import read_tables
from omni_batch.store.record import read_record

Rows = dict[int, dict[str, Any]]


def rows_so_far(directory: RunDir) -> Rows:
    """Every row that a crash left, by its number in the manifest."""
    record = read_record(directory.record)
    tables = [results for results, _ in read_tables(directory, record)]
    return {row["row_number"]: row for results in tables for row in results.to_pylist()}


def check_finished(directory: RunDir, kept: Rows) -> None:
    """One whole row for each item, what was kept stands, and nothing else lies about."""
    record = read_record(directory.record)
    assert record.state == "finished"
    rows = pq.read_table(directory.root / "results").to_pylist()
    assert [row["row_number"] for row in rows] == list(range(record.items))
    assert record.counts.done == record.items
    for number, row in kept.items():
        assert rows[number] == row
    exchanges = pq.read_table(directory.root / "attempts").to_pylist()
    for row in rows:
        assert row["attempts"] == sum(a["row_number"] == row["row_number"] for a in exchanges)
    _check_speech(directory, rows)
    _check_tidy(directory)


def _check_speech(directory: RunDir, rows: list[dict[str, Any]]) -> None:
    spoken = {row["audio_path"]: row for row in rows if row["audio_path"]}
    for name, row in spoken.items():
        path = directory.root / name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row["audio_sha256"]
        assert abs(soundfile.info(path).duration - row["audio_s"]) < 0.001
    assert {f"audio/{path.name}" for path in (directory.root / "audio").iterdir()} == set(spoken)


def _check_tidy(directory: RunDir) -> None:
    known = {"run.json", "items.parquet", "results", "attempts", "audio"}
    assert {path.name for path in directory.root.iterdir()} == known
    parts = {f"part-{number:05d}.parquet" for number in read_record(directory.record).shards}
    for table in ("results", "attempts"):
        assert {path.name for path in (directory.root / table).iterdir()} == parts


def hidden(output: Path) -> list[str]:
    """Drafts of runs that never began."""
    return sorted(path.name for path in output.iterdir() if path.name.startswith("."))
