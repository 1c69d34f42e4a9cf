"""A request's JSON with local files in it, streamed from disk. Memory does not grow with files."""

import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiofiles
import msgspec
import pybase64

from omni_batch.errors import MediaError

_PIECE_BYTES = 3 * 64 * 1024  # a multiple of 3: each piece becomes base64 without padding


class Base64File:
    """A file inside a text of the JSON, behind `prefix`; encoded while the body is sent.

    A plain class: msgspec would write the fields of a dataclass into the JSON.
    """

    def __init__(self, path: Path, size_bytes: int, prefix: str = "") -> None:
        self.path, self.size_bytes, self.prefix = path, size_bytes, prefix

    def __len__(self) -> int:
        return (self.size_bytes + 2) // 3 * 4

    async def encoded(self) -> AsyncIterator[bytes]:
        """All of the file, exactly as long as it was when probed."""
        left = self.size_bytes
        try:
            async with aiofiles.open(self.path, "rb") as source:
                while left > 0 and (data := await source.read(min(left, _PIECE_BYTES))):
                    left -= len(data)
                    yield pybase64.b64encode(data)
                grown = await source.read(1)
        except OSError as exc:
            raise unreadable(self.path, exc) from exc
        if left or grown:
            raise changed(self.path)


@dataclass(frozen=True, slots=True)
class Body:
    """Ready to be sent, as often as needed."""

    segments: tuple[bytes | Base64File, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that the body requires."""
    names_urls: bool = False
    """Whether the server is to fetch media that it names."""

    @classmethod
    def of(cls, tree: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> "Body":
        """Encode a tree that has `Base64File`s in place of texts."""
        files: list[Base64File] = []
        mark = ""

        def placeholder(file: Base64File) -> str:
            nonlocal mark
            mark = mark or secrets.token_hex(16)  # no prompt can contain it by chance or by guess
            files.append(file)
            return file.prefix + mark

        data = msgspec.json.encode(tree, enc_hook=placeholder)
        first, *others = data.split(mark.encode()) if files else [data]
        segments: list[bytes | Base64File] = [first]
        for file, text in zip(files, others, strict=True):
            segments += (file, text)
        return cls(tuple(segments), headers or {})

    @property
    def content_length(self) -> int:
        """Bytes on the wire; servers of media refuse requests of unknown length."""
        return sum(map(len, self.segments))

    def content(self) -> bytes | AsyncIterator[bytes]:
        """What an HTTP client sends: one piece where there is no file to read."""
        match self.segments:
            case (bytes(whole),):
                return whole
        return self.stream()

    async def stream(self) -> AsyncIterator[bytes]:
        """The bytes in order.

        Raises:
            MediaError: a file has vanished or changed its size since it was probed.
        """
        for segment in self.segments:
            if isinstance(segment, bytes):
                yield segment
            else:
                async for piece in segment.encoded():
                    yield piece


def unreadable(path: Path, exc: OSError) -> MediaError:
    """The error for a file that could be read when it was probed."""
    return MediaError(f"{path} can't be read any more: {exc.strerror}")


def changed(path: Path) -> MediaError:
    """The error for a file whose size is not the one that was probed."""
    return MediaError(f"{path} changed its size while it was sent; run it again")
