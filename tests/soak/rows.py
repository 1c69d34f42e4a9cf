"""A run's rows as they lie on the disk, read without the package that wrote them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.soak.book import HEADER_BYTES, Book

Row = dict[str, Any]


def kept(run: Path, book: Book) -> dict[int, str]:
    """Request ids by row number: items whose answer is there, with all of its sound."""
    rows = {row["row_number"]: row for row in rows_of(run)}
    return {number: row["request_id"] for number, row in rows.items() if _is_whole(run, row, book)}


def _is_whole(run: Path, row: Row, book: Book) -> bool:
    told = book.told.get(row["request_id"])
    if row["status"] != "succeeded" or told is None:
        return False
    try:
        size_bytes = (run / str(row["audio_path"])).stat().st_size
    except FileNotFoundError:
        return False
    return size_bytes == HEADER_BYTES + told.sound_bytes


def rows_of(run: Path) -> Iterator[Row]:
    """All rows of `results`; those of a journal only where it has no part."""
    parts = {path.stem.removeprefix("part-"): path for path in _found(run, "results/*.parquet")}
    for path in parts.values():
        yield from table_rows(path)
    for path in _found(run, "journal/shard-*.jsonl"):
        if path.stem.removeprefix("shard-") not in parts:
            yield from _journal_rows(path)


def table_rows(path: Path) -> list[Row]:
    """All rows of a Parquet file; none where it can't be read."""
    try:
        with pq.ParquetFile(path) as file:
            rows: list[Row] = file.read().to_pylist()
            return rows
    except (OSError, pa.ArrowException):
        return []


def _found(run: Path, pattern: str) -> list[Path]:
    return sorted(run.glob(pattern))


def _journal_rows(path: Path) -> Iterator[Row]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # its part has come just now
        return
    for line in content.split(b"\n")[:-1]:
        try:
            result = json.loads(line)["result"]
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(result, dict):
            yield result
