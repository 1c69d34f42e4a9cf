"""When one file of an export ends and the next begins."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """The next file begins when either is reached."""

    items: int | None = None
    size_bytes: int = 500_000_000


class ShardCounter:
    """Numbers files, and says when a new one is due."""

    def __init__(self, limits: ShardLimits) -> None:
        self._limits = limits
        self._items = self._bytes = 0
        self.number = -1

    def is_due(self) -> bool:
        """Does the next item begin a new file?"""
        full = self._limits.items is not None and self._items >= self._limits.items
        return self.number < 0 or full or self._bytes >= self._limits.size_bytes

    def begin(self) -> int:
        """Begin a file; return its number, from 0."""
        self._items = self._bytes = 0
        self.number += 1
        return self.number

    def add(self, size_bytes: int) -> None:
        """Take an item."""
        self._items += 1
        self._bytes += size_bytes
