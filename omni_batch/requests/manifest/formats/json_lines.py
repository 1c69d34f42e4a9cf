"""JSON Lines → rows: one object in each line."""

import io
from collections.abc import Callable, Iterator
from typing import IO

from omni_batch.errors import ManifestError
from omni_batch.requests.manifest import rows as bounds
from omni_batch.requests.manifest.formats.json_object import json_object
from omni_batch.requests.manifest.notes import Notes
from omni_batch.requests.manifest.rows import ManifestRow, row_too_long, without_gaps

_MARK = b"\xef\xbb\xbf"


def read_json_lines(
    path: str, file: IO[bytes], encoding: str, notes: Notes
) -> Iterator[ManifestRow]:
    """Read rows; each is an object with names of its own."""
    if encoding.startswith("utf-16"):
        with io.TextIOWrapper(file, encoding) as text:
            yield from _rows(path, lambda most: text.readline(most).encode(), notes)
    else:
        yield from _rows(path, file.readline, notes)


def _rows(path: str, readline: Callable[[int], bytes], notes: Notes) -> Iterator[ManifestRow]:
    for number, line in without_gaps(path, _lines(path, readline), bytes.strip):
        where = f"{path}, line {number}"
        try:
            cells, has_infinity = json_object(line.removeprefix(_MARK))
        except ValueError as exc:
            raise ManifestError(f"{where}: not a JSON object: {exc}") from None
        if has_infinity:
            notes.add_row("infinity", "Infinity is read as null", where)
        yield ManifestRow(where, cells)


def _lines(path: str, readline: Callable[[int], bytes]) -> Iterator[tuple[int, bytes]]:
    most = bounds.MAX_ROW_CHARS
    for number, line in enumerate(iter(lambda: readline(most + 1), b""), 1):
        if number == 1 and line[:64].removeprefix(_MARK).lstrip().startswith(b"["):
            raise ManifestError(
                f"{path} is one list; write one object in each line instead (.jsonl), for "
                "instance with: jq -c '.[]'"
            )
        if len(line) > most:
            raise row_too_long(path, number, most)
        yield number, line
