"""multipart/form-data read as it comes, so that a large file is never held in memory."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import IO

_NAME = re.compile(r'(?<![a-z])name="([^"]*)"')
_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?')
_MOST_TEXT_BYTES = 65_536


class Malformed(ValueError):
    """The body is not what its content type says."""


@dataclass(slots=True)
class Form:
    """The fields of a form; its file was written elsewhere."""

    names: list[str] = field(default_factory=list)
    """Of all parts, as they came."""
    fields: dict[str, str] = field(default_factory=dict)
    file_bytes: int = 0
    """Length of the part called "file", written or not."""


async def read_form(
    content_type: str, body: AsyncIterator[bytes], file: IO[bytes], most_bytes: int
) -> Form:
    """Read a form to its end.

    Args:
        content_type: the header that names the boundary.
        body: pieces of the body.
        file: takes the bytes of the part called "file".
        most_bytes: no piece is written to `file` once it holds more than that.
    Raises:
        ValueError: not multipart/form-data, or it breaks the format.
    """
    found = _BOUNDARY.search(content_type)
    if not content_type.startswith("multipart/form-data") or found is None:
        raise Malformed("no multipart/form-data with a boundary")
    delimiter = b"\r\n--" + found[1].encode("latin-1")
    reader, form = _Reader(body), Form()
    async for _ in reader.until(delimiter):
        pass
    while (edge := await reader.take(2)) == b"\r\n":
        name = _name(await reader.text(b"\r\n\r\n", "a header"))
        form.names.append(name)
        if name != "file":
            form.fields[name] = await reader.text(delimiter, f"the field {name}")
            continue
        async for piece in reader.until(delimiter):
            if form.file_bytes <= most_bytes:
                file.write(piece)
            form.file_bytes += len(piece)
    if edge != b"--":
        raise Malformed("a delimiter is followed by neither a line nor the end")
    return form


def _name(headers: str) -> str:
    found = _NAME.search(headers)
    if found is None:
        raise Malformed("a part has no name")
    return found[1]


class _Reader:
    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        # The first delimiter has no line before it; with one it is like the others.
        self._held = bytearray(b"\r\n")

    async def until(self, mark: bytes) -> AsyncIterator[bytes]:
        """Give what comes before a mark piece by piece, and skip the mark."""
        while (at := self._held.find(mark)) < 0:
            # The end of what is held may be the beginning of the mark.
            yield self._cut(max(0, len(self._held) - len(mark)))
            await self._fill()
        yield self._cut(at)
        self._cut(len(mark))

    async def text(self, mark: bytes, what: str) -> str:
        """All that comes before a mark; `what` it is goes into the error if it is too long."""
        data = bytearray()
        async for piece in self.until(mark):
            data += piece
            if len(data) > _MOST_TEXT_BYTES:
                raise Malformed(f"{what} is too long")
        return data.decode()

    async def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        while len(self._held) < count:
            await self._fill()
        return self._cut(count)

    def _cut(self, count: int) -> bytes:
        data = bytes(self._held[:count])
        del self._held[:count]
        return data

    async def _fill(self) -> None:
        try:
            self._held += await anext(self._body)
        except StopAsyncIteration:
            raise Malformed("it is cut off") from None
