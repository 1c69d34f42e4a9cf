"""A file of which some stretches are known: what a header says is read without the rest. Pure."""

import io
from typing import Any


class MissingBytes(OSError):
    """A read outside the known stretches."""


class PartialFile(io.RawIOBase):
    """Reads like a file of its full size; notes where it was read in vain.

    Args:
        size_bytes: of the whole file.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.missing: int | None = None
        """Where the first read began that found nothing, since the last stretch came."""
        self._stretches: list[tuple[int, bytes]] = []
        self._at = 0

    def add(self, offset: int, data: bytes) -> None:
        """Put in a stretch, and begin anew."""
        self._stretches.append((offset, data))
        self.missing, self._at = None, 0

    def readable(self) -> bool:  # noqa: D102 as io has it
        return True

    def seekable(self) -> bool:  # noqa: D102
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:  # noqa: D102
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size_bytes}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:  # noqa: D102
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: D102
        data = self._known(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _known(self, most_bytes: int) -> bytes:
        if self._at >= self.size_bytes or not most_bytes:
            return b""
        for offset, data in self._stretches:
            begin = self._at - offset
            if 0 <= begin < len(data):
                return data[begin : begin + most_bytes]
        if self.missing is None:
            self.missing = self._at
        raise MissingBytes(f"byte {self._at:,} of {self.size_bytes:,} is not here")
