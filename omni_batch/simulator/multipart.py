"""multipart/form-data read piece by piece, so that a large file is never held in memory."""

from __future__ import annotations

import re
from typing import IO

_NAME = re.compile(rb'(?<![a-z])name="([^"]*)"')
_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?')
_LONGEST_FIELD = 65_536


class Malformed(ValueError):
    """The body is not what its content type says."""


class Form:
    """Fills itself from the pieces of a body.

    Args:
        content_type: the header that names the boundary.
        file: takes the bytes of the part called "file".
    Raises:
        Malformed: no multipart/form-data, or it breaks the format.
    """

    def __init__(self, content_type: str, file: IO[bytes]) -> None:
        found = _BOUNDARY.search(content_type)
        if not content_type.startswith("multipart/form-data") or found is None:
            raise Malformed("no multipart/form-data with a boundary")
        self._delimiter = b"\r\n--" + found[1].encode("latin-1")
        # The first delimiter has no line before it; with one it is like the others.
        self._held = bytearray(b"\r\n")
        self._file, self._name = file, ""
        self._read = self._preamble
        self.order: list[str] = []
        """Names of the parts as they came."""
        self.fields: dict[str, str] = {}
        self.length_bytes = 0
        """Of the file so far."""
        self.complete = False
        """The last delimiter was seen."""

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        self._held += piece
        while not self.complete and self._read():
            pass

    def _preamble(self) -> bool:
        at = self._held.find(self._delimiter)
        if at < 0:
            return False
        del self._held[: at + len(self._delimiter)]
        self._read = self._edge
        return True

    def _edge(self) -> bool:
        """What follows a delimiter: another part, or the end."""
        if len(self._held) < 2:
            return False
        self.complete = self._held.startswith(b"--")
        if not self.complete and not self._held.startswith(b"\r\n"):
            raise Malformed("a delimiter is followed by neither a line nor the end")
        self._read = self._headers
        return True

    def _headers(self) -> bool:
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return False
        found = _NAME.search(bytes(self._held[:end]))
        if found is None:
            raise Malformed("a part has no name")
        self._name = found[1].decode()
        self.order.append(self._name)
        self.fields[self._name] = ""
        del self._held[: end + 4]
        self._read = self._content
        return True

    def _content(self) -> bool:
        at = self._held.find(self._delimiter)
        # The end of what is held may be the beginning of a delimiter.
        sure = at if at >= 0 else max(0, len(self._held) - len(self._delimiter))
        self._take(bytes(self._held[:sure]))
        del self._held[:sure]
        if at >= 0:
            del self._held[: len(self._delimiter)]
            self._read = self._edge
        return at >= 0

    def _take(self, data: bytes) -> None:
        if self._name == "file":
            self.length_bytes += len(data)
            self._file.write(data)
            return
        self.fields[self._name] += data.decode()
        if len(self.fields[self._name]) > _LONGEST_FIELD:
            raise Malformed(f"the field {self._name} is too long")
