"""What is read: an open file, whole or with parts missing."""

import io
from dataclasses import dataclass
from typing import BinaryIO, Literal, cast

Depth = Literal["to_send", "to_change", "glance"]
"""How a medium is looked at. to_send: all of it has to be as it is sent. to_change: it may also be
of a kind that is sent in another form only. glance: the same, and pixels of images are left to
whoever decodes them."""


@dataclass(frozen=True, slots=True)
class OpenMedium:
    """A medium that is being looked at."""

    file: BinaryIO
    head: bytes
    """Its first bytes."""
    size_bytes: int
    name: str
    """What messages call it."""
    whole: bool
    """False where parts are missing; there it reads as if it ended."""
    depth: Depth = "to_send"

    @property
    def to_change(self) -> bool:
        """Whether it may be of a kind that is not sent as it is."""
        return self.depth != "to_send"


def open_medium(
    file: BinaryIO, head_bytes: int, name: str, *, whole: bool, depth: Depth = "to_send"
) -> OpenMedium:
    """Look at the beginning and at the end of a file.

    Args:
        file: raises OSError where it is asked for bytes that it does not have.
        head_bytes: how many of its first bytes to keep.
    """
    readable = file if whole else cast(BinaryIO, _Gapped(file))
    size_bytes = readable.seek(0, io.SEEK_END)
    readable.seek(0)
    head = readable.read(head_bytes)
    return OpenMedium(readable, head, size_bytes, name, whole, depth)


class _Gapped(io.RawIOBase):
    """Reads as ended where a part is missing: decoders know no other way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        place = self._file.tell()
        wanted = size if size >= 0 else self._file.seek(0, io.SEEK_END) - place
        while wanted > 0:
            self._file.seek(place)
            try:
                return self._file.read(wanted)
            except OSError:  # it reaches into a gap: less of it may be there
                wanted //= 2
        return b""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
