"""ManifestRow: one row as its file has it, whatever the format; and what bounds it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from omni_batch.errors import ManifestError

T = TypeVar("T")
MAX_CELL_CHARS = 16 * 2**20  # room for a data URI of the largest size that is accepted
MAX_ROW_CHARS = 2 * MAX_CELL_CHARS


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One row, its columns named as in the file."""

    where: str
    """File and line (or row), for messages."""
    cells: Mapping[str, Any]
    is_delimited: bool = False
    """All cells are text, as in CSV: lists are written in them."""


def without_gaps(
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


def row_too_long(path: str, line: int, most: int) -> ManifestError:
    """The error of a row that would fill the memory."""
    return ManifestError(
        f"{path}, line {line}: the row has more than {most:,} characters; "
        "give large media as files or URLs (or is a quote missing?)"
    )
