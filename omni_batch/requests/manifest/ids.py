"""Ids of rows that have none: the name of their file, or else a hash of their content."""

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from omni_batch.text import is_data_uri

_FEWEST_SLOTS = 1024


class NewIds:
    """Makes ids that no other row of the manifest got from here; 8 to 16 bytes for each.

    A row with one file is called by its path without the ending, the next one with the same by its
    path, further ones by path and content. So ids stay when rows are added behind.
    """

    def __init__(self) -> None:
        self._taken = _HashSet()

    def of_content(self, cells: Mapping[str, Any]) -> str:
        """The same for the same cells, whatever the format and the order of columns."""
        return _digest(cells)[:16]

    def take(self, name: str) -> bool:
        """Whether a name was still free; it is not any more."""
        return self._taken.add(name)

    def of_file(self, path: str, cells: Mapping[str, Any]) -> str:
        """The name of the file, as far as it is free."""
        for name in _names(path):
            if self.take(name):
                return name
        return f"{path}-{_digest(cells)[:8]}"


def file_of(cells: Iterable[Any], reference: str) -> str | None:
    """The path of a row's only medium, as the row names it; None behind a URL.

    Args:
        cells: the row's cells with media, one of which has it.
        reference: what was made of it.
    """
    if is_data_uri(reference):
        return next(filter(None, map(_path_of_struct, cells)), None)
    return None if "://" in reference[:12] else reference


def _names(path: str) -> Iterator[str]:
    plain = path.replace("\\", "/").removeprefix("./")
    folder, slash, name = plain.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    if dot and stem:
        yield f"{folder}{slash}{stem}"
    yield plain


def _path_of_struct(cell: Any) -> str | None:
    if isinstance(cell, list) and len(cell) == 1:
        (cell,) = cell
    path = cell.get("path") if isinstance(cell, Mapping) else None
    return path if isinstance(path, str) and path.strip() else None


def _digest(cells: Mapping[str, Any]) -> str:
    content = msgspec.json.encode(cells, order="deterministic", enc_hook=str)
    return hashlib.sha256(content).hexdigest()


class _HashSet:
    """Texts by 8 bytes of their hashes, in one block of memory."""

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _FEWEST_SLOTS))
        self._used = 0

    def add(self, text: str) -> bool:
        """Take in a text; False where it is there already."""
        if 2 * self._used >= len(self._slots):
            self._grow()
        value = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) or 1
        slot = self._slot(value)
        if self._slots[slot] == value:
            return False
        self._slots[slot] = value
        self._used += 1
        return True

    def _slot(self, value: int) -> int:
        slots = self._slots
        last = len(slots) - 1
        slot = value & last
        while slots[slot] not in (0, value):
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        values = [value for value in self._slots if value]
        self._slots = array("Q", bytes(16 * len(self._slots)))
        for value in values:
            self._slots[self._slot(value)] = value
