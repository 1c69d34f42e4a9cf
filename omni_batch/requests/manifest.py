"""Manifest → Item: CSV, TSV, JSONL and Parquet, streamed, each row checked as it passes."""

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import fsspec
import msgspec
import pyarrow.parquet as pq

from omni_batch.config import ManifestConfig
from omni_batch.errors import ManifestError
from omni_batch.requests.json_object import json_object
from omni_batch.text import redacted
from omni_batch.types import MEDIA_COLUMNS, Item

T = TypeVar("T")
COLUMNS = ("prompt", *MEDIA_COLUMNS, "system", "voice", "messages")
"""Columns with a meaning; all others are free for templates."""
_ID_COLUMN = "item_id"
_LIST_SEPARATOR = "|"
_MAX_CELL_CHARS = 16 * 2**20  # room for a data URI of the largest size that is accepted
_MAX_ROW_CHARS = 2 * _MAX_CELL_CHARS
_BATCH_ROWS = 1024
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One row as the file has it."""

    where: str
    """File and line (or row), for messages."""
    cells: Mapping[str, Any]


def read_items(config: ManifestConfig) -> Iterator[tuple[ManifestRow, Item]]:
    """Read the manifest once, row by row; memory does not grow with it.

    Raises:
        ManifestError: it can't be read, or a row can't be used; names file, line and reason.
    """
    for number, row in enumerate(_read_rows(config.path)):
        yield row, _to_item(row, number, config.id_column)


def _read_rows(path: str) -> Iterator[ManifestRow]:
    name = urlsplit(path).path if "://" in path else path  # a signed URL goes on behind the name
    suffixes = [suffix.lower() for suffix in PurePosixPath(name).suffixes]
    suffix = next((s for s in reversed(suffixes) if s not in _COMPRESSED), "")
    reader = _READERS.get(suffix)
    if reader is None:
        ending = f"the ending {suffix!r}" if suffix else "no ending"
        known = ", ".join(sorted(_READERS))
        raise ManifestError(redacted(f"manifest {path} has {ending}; use one of {known}"))
    with _opened(path) as file:
        yield from reader(redacted(path), file)  # the name is for messages from here on


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    """End every foreign exception of reading here."""
    try:
        with fsspec.open(path, "rb", compression="infer") as file:
            yield file
    except FileNotFoundError:
        raise ManifestError(f"manifest {redacted(path)} does not exist") from None
    except UnicodeDecodeError:
        raise ManifestError(
            f"{redacted(path)}, line {_undecodable_line(path)}: not UTF-8; convert the file first"
        ) from None
    except ManifestError:
        raise
    except Exception as exc:  # each fsspec filesystem and codec has exceptions of its own
        raise ManifestError(redacted(f"manifest {path} can't be read: {exc}")) from exc


def _undecodable_line(path: str) -> int:
    with fsspec.open(path, "rb", compression="infer") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1  # it has changed meanwhile


def _read_csv(path: str, file: IO[bytes], delimiter: str = ",") -> Iterator[ManifestRow]:
    csv.field_size_limit(_MAX_CELL_CHARS)
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        rows = _csv_rows(path, _Lines(path, text), delimiter)
        header = _checked_header(path, next(rows, (1, []))[1])
        for line, cells in _without_gaps(path, rows, any):
            if len(cells) != len(header):
                raise ManifestError(
                    f"{path}, line {line}: {len(cells)} cells, but the header has {len(header)}; "
                    "is a quote or a separator missing?"
                )
            yield ManifestRow(f"{path}, line {line}", dict(zip(header, cells, strict=True)))


class _Lines:
    """Lines of a text, bounded for each row: one without an end must not fill the memory."""

    def __init__(self, path: str, text: IO[str]) -> None:
        self._path, self._text = path, text
        self.row_chars = 0

    def __iter__(self) -> Iterator[str]:
        lines = iter(lambda: self._text.readline(_MAX_ROW_CHARS + 1), "")
        for number, line in enumerate(lines, 1):
            self.row_chars += len(line)
            if self.row_chars > _MAX_ROW_CHARS:
                raise _row_too_long(self._path, number)
            yield line


def _without_gaps(
    path: str, rows: Iterator[tuple[int, T]], has_content: Callable[[T], object]
) -> Iterator[tuple[int, T]]:
    """Rows that are not blank; blank lines are harmless at the very end only."""
    blank_line = 0
    for line, row in rows:
        if not has_content(row):
            blank_line = blank_line or line
        elif blank_line:
            raise ManifestError(f"{path}, line {blank_line}: the row is empty; remove it")
        else:
            yield line, row


def _row_too_long(path: str, line: int) -> ManifestError:
    return ManifestError(
        f"{path}, line {line}: the row has more than {_MAX_ROW_CHARS:,} characters; "
        "give large media as files or URLs (or is a quote missing?)"
    )


def _csv_rows(path: str, lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of their last line."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            lines.row_chars = 0
            if any("\0" in cell for cell in cells):
                raise csv.Error("it contains NUL bytes; is it UTF-16? convert the file first")
            yield reader.line_num, cells
    except csv.Error as exc:
        raise ManifestError(f"{path}, line {reader.line_num}: {exc}") from None


def _checked_header(path: str, header: list[str]) -> list[str]:
    header = [name.strip() for name in header]
    if not header:
        raise ManifestError(f"manifest {path} is empty; it needs a header row and rows")
    seen: set[str] = set()
    for position, name in enumerate(header):
        if not name:
            raise ManifestError(f"{path}, line 1: column {position + 1} has no name")
        if name in seen:
            raise ManifestError(f"{path}, line 1: duplicate column {name[:80]!r}")
        seen.add(name)
    return header


def _read_jsonl(path: str, file: IO[bytes]) -> Iterator[ManifestRow]:
    for number, line in _without_gaps(path, _json_lines(path, file), bytes.strip):
        try:
            cells = json_object(line.removeprefix(b"\xef\xbb\xbf"))
        except ValueError as exc:
            raise ManifestError(f"{path}, line {number}: not a JSON object: {exc}") from None
        yield ManifestRow(f"{path}, line {number}", cells)


def _json_lines(path: str, file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(iter(lambda: file.readline(_MAX_ROW_CHARS + 1), b""), 1):
        if len(line) > _MAX_ROW_CHARS:
            raise _row_too_long(path, number)
        yield number, line


def _read_parquet(path: str, file: IO[bytes]) -> Iterator[ManifestRow]:
    number = 0
    parquet = pq.ParquetFile(file)
    _checked_header(path, parquet.schema_arrow.names)
    for group in range(parquet.num_row_groups):
        rows = _batch_rows(path, group, parquet.metadata.row_group(group))
        for batch in parquet.iter_batches(batch_size=rows, row_groups=[group]):
            for cells in batch.to_pylist():
                number += 1
                _check_cells(path, number, cells)
                yield ManifestRow(f"{path}, row {number}", cells)


def _batch_rows(path: str, number: int, group: pq.RowGroupMetaData) -> int:
    """Rows to read at once, fewer where they are large; by the file's own figures."""
    row_bytes: int = group.total_byte_size // max(1, group.num_rows)
    if row_bytes > _MAX_ROW_CHARS:
        raise ManifestError(
            f"{path}, row group {number}: rows of {row_bytes:,} bytes; {_MAX_ROW_CHARS:,} at most: "
            "give large media as files or URLs"
        )
    return min(_BATCH_ROWS, _MAX_ROW_CHARS // max(1, row_bytes))


def _check_cells(path: str, number: int, cells: Mapping[str, Any]) -> None:
    for name, value in cells.items():
        if isinstance(value, str | bytes) and len(value) > _MAX_CELL_CHARS:
            raise ManifestError(
                f"{path}, row {number}: {name} has {len(value):,} characters; "
                f"{_MAX_CELL_CHARS:,} at most"
            )


_READERS: dict[str, Callable[[str, IO[bytes]], Iterator[ManifestRow]]] = {
    ".csv": _read_csv,
    ".tsv": partial(_read_csv, delimiter="\t"),
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}


def _to_item(row: ManifestRow, number: int, id_column: str) -> Item:
    if not any(value not in (None, "", []) for value in row.cells.values()):
        raise ManifestError(f"{row.where}: the row is empty; remove it")
    return Item(
        item_id=_item_id(row, id_column),
        row_number=number,
        prompt=_text(row, "prompt"),
        system=_text(row, "system"),
        voice=_text(row, "voice"),
        image=_references(row, "image"),
        audio=_text(row, "audio"),
        video=_text(row, "video"),
        frames=_references(row, "frames"),
        messages=_messages(row),
        source={
            name: value
            for name, value in row.cells.items()
            if name not in COLUMNS and not name == id_column == _ID_COLUMN
        },
    )


def _item_id(row: ManifestRow, id_column: str) -> str:
    value = row.cells.get(id_column)
    if value not in (None, ""):
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ManifestError(
                f"{row.where}: {id_column} is {value!r:.60}; expected a text or a whole number"
            )
        return str(value)
    if id_column in row.cells:
        raise ManifestError(f"{row.where}: {id_column} is empty; fill it or drop the column")
    if id_column != _ID_COLUMN:
        raise ManifestError(f"{row.where}: there is no column {id_column!r} (manifest.id_column)")
    content = msgspec.json.encode(row.cells, order="deterministic", enc_hook=str)
    return hashlib.sha256(content).hexdigest()[:16]


def _text(row: ManifestRow, name: str) -> str | None:
    value = row.cells.get(name)
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        raise ManifestError(f"{row.where}: {name} is {value!r:.60}; expected a text")
    return value


def _references(row: ManifestRow, name: str) -> tuple[str, ...]:
    value = row.cells.get(name)
    if isinstance(value, str):
        value = [part.strip() for part in value.split(_LIST_SEPARATOR)] if value else []
    elif value is None:
        value = []
    if not isinstance(value, list) or not all(isinstance(part, str) and part for part in value):
        raise ManifestError(f"{row.where}: {name} is {value!r:.60}; expected references")
    return tuple(value)


def _messages(row: ManifestRow) -> str | None:
    value = row.cells.get("messages")
    return (
        msgspec.json.encode(value).decode() if isinstance(value, list) else _text(row, "messages")
    )
