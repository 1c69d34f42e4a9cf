"""CSV and TSV → rows: the separator by the header, UTF-8, or UTF-16 with its mark."""

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain
from typing import IO

from omni_batch.errors import ManifestError
from omni_batch.requests.manifest import rows as bounds
from omni_batch.requests.manifest.names import ID_COLUMN, INDEX_NAMES, TARGETS, canonical, cleaned
from omni_batch.requests.manifest.notes import Notes
from omni_batch.requests.manifest.rows import ManifestRow, row_too_long, without_gaps

_SEPARATORS = (",", ";", "\t", "|")
_STATED = re.compile(r'"?sep=([^"\r\n])"?[\r\n]*', re.IGNORECASE)
"""What Excel reads in a first line, and writes on demand."""
_KNOWN = frozenset(map(canonical, (ID_COLUMN, *TARGETS)))


def read_delimited(
    path: str, file: IO[bytes], encoding: str, notes: Notes, *, usual: str = ","
) -> Iterator[ManifestRow]:
    """Read rows under a header.

    Args:
        usual: the separator, unless the header says otherwise.
    """
    csv.field_size_limit(bounds.MAX_CELL_CHARS)
    with io.TextIOWrapper(file, encoding=encoding, newline="") as text:
        lines = _Lines(path, text)
        rows = _csv_rows(path, lines, usual)
        _, names = next(rows, (1, []))
        header = _Header(path, lines.header_line, names, notes)
        for line, cells in without_gaps(path, rows, any):
            yield ManifestRow(f"{path}, line {line}", header.named(line, cells), is_delimited=True)


class _Lines:
    """Lines of a text, bounded for each row: one without an end must not fill the memory."""

    def __init__(self, path: str, text: IO[str]) -> None:
        self._path, self._text = path, text
        self.row_chars = self.number = 0
        self.header_line = 1

    def __iter__(self) -> Iterator[str]:
        most = bounds.MAX_ROW_CHARS
        lines = iter(lambda: self._text.readline(most + 1), "")
        for self.number, line in enumerate(lines, 1):
            self.row_chars += len(line)
            if self.row_chars > most:
                raise row_too_long(self._path, self.number, most)
            yield line


def _csv_rows(path: str, lines: _Lines, usual: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of their last line."""
    source = iter(lines)
    first = next((line for line in source if line.strip()), "")
    if stated := _STATED.fullmatch(first):
        separator = stated[1]
    else:
        separator, source = _separator(path, first, usual), chain([first], source)
    skipped = lines.number - (0 if stated else 1)
    lines.header_line = skipped + 1
    reader = csv.reader(source, delimiter=separator, strict=True)
    try:
        for cells in reader:
            lines.row_chars = 0
            if any("\0" in cell for cell in cells):
                raise csv.Error("it contains NUL bytes; is it UTF-16? convert the file first")
            yield reader.line_num + skipped, cells
    except csv.Error as exc:
        raise ManifestError(f"{path}, line {reader.line_num + skipped}: {exc}") from None


def _separator(path: str, header: str, usual: str) -> str:
    """What the columns are separated by: the usual, unless only another makes sense of them."""
    found = {sign: _split(header, sign) for sign in (usual, *_SEPARATORS)}
    known = {sign: sum(canonical(name) in _KNOWN for name in found[sign]) for sign in found}
    split = [sign for sign, names in found.items() if len(names) > 1]
    if usual in split and (known[usual] or not any(known[sign] for sign in split)):
        return usual
    if not split or known[usual]:  # one column
        return usual
    best = [sign for sign in split if known[sign] == max(known[other] for other in split)]
    if len(best) > 1:
        listed = " and ".join(map(repr, best))
        raise ManifestError(
            f"{path}, line 1: the header may be separated by {listed}; write sep=; (or another) "
            "into a line before it"
        )
    return best[0]


def _split(header: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([header], delimiter=separator, strict=True), [])
    except csv.Error:  # goes on in the next line
        return []


class _Header:
    """Names of columns, some of which are left aside."""

    def __init__(self, path: str, line: int, names: list[str], notes: Notes) -> None:
        self._path = path
        self._names = [cleaned(name) for name in names]
        if not any(self._names):
            raise ManifestError(f"manifest {path} is empty; it needs a header row and rows")
        named = [n for n, name in enumerate(self._names) if name not in INDEX_NAMES[:2]]
        self._nameless = range(max(named, default=0) + 1, len(names))
        refuse_doubled(f"{path}, line {line}", (self._names[n] for n in named))
        for position in range(1, self._nameless.start):
            if not self._names[position]:
                raise ManifestError(f"{path}, line {line}: column {position + 1} has no name")
        self._kept = None if len(named) == len(names) else named
        if self._names[0] in INDEX_NAMES and self._kept:
            notes.add("index-left-aside", _LEFT_ASIDE)

    def named(self, line: int, cells: list[str]) -> dict[str, str]:
        """The cells of one row under their names."""
        names = self._names
        if len(cells) != len(names):
            raise ManifestError(
                f"{self._path}, line {line}: {len(cells)} cells, but the header has {len(names)}; "
                "is a quote or a separator missing?"
            )
        if self._kept is None:
            return dict(zip(names, cells, strict=True))
        for position in self._nameless:
            if cells[position].strip():
                raise ManifestError(
                    f"{self._path}, line {line}: column {position + 1} has no name, but this row "
                    f"has {cells[position]!r:.60} there; name it or remove it"
                )
        return {names[position]: cells[position] for position in self._kept}


_LEFT_ASIDE = (
    "the first column has no name of its own, as pandas writes its index: it is left aside; give "
    "it a name if it matters (to_csv(index=False) leaves it out)"
)


def refuse_doubled(where: str, names: Iterator[str]) -> None:
    """Raise ManifestError when a name appears twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ManifestError(f"{where}: duplicate column {name[:80]!r}")
        seen.add(name)
