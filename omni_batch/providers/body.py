"""A request's JSON with local files in it, streamed from disk. Memory does not grow with files."""

import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiofiles
import msgspec
import pybase64

from omni_batch.errors import MediaError

_PIECE_BYTES = 3 * 64 * 1024  # a multiple of 3: each piece becomes base64 without padding


@dataclass(frozen=True, slots=True)
class Base64File:
    """A file as part of the JSON: encoded, without quotes."""

    path: Path
    size_bytes: int

    @property
    def encoded_bytes(self) -> int:
        """Length of its base64 text."""
        return (self.size_bytes + 2) // 3 * 4


@dataclass(slots=True)
class Inlined:
    """Collects the files of one request while its JSON is built."""

    files: list[Base64File] = field(default_factory=list)
    _nonce: str = ""

    def placeholder(self, path: Path, size_bytes: int) -> str:
        """A text in place of the file; no prompt can contain it by chance or by guess."""
        self._nonce = self._nonce or secrets.token_hex(16)
        self.files.append(Base64File(path, size_bytes))
        return f"{self._nonce}{len(self.files) - 1}."

    def split(self, data: bytes) -> Iterator["bytes | Base64File"]:
        """The data with files in place of their placeholders."""
        if not self.files:
            yield data
            return
        first, *others = data.split(self._nonce.encode())
        yield first
        for piece in others:
            number, _, text = piece.partition(b".")
            yield self.files[int(number)]
            yield text


@dataclass(frozen=True, slots=True)
class Body:
    """Ready to be sent, as often as needed."""

    segments: tuple[bytes | Base64File, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that the body requires."""

    @classmethod
    def of(
        cls, tree: Mapping[str, Any], inlined: Inlined, headers: Mapping[str, str] | None = None
    ) -> "Body":
        """Encode a tree that has placeholders for files."""
        return cls(tuple(inlined.split(msgspec.json.encode(tree))), headers or {})

    @property
    def content_length(self) -> int:
        """Bytes on the wire; servers of media refuse requests of unknown length."""
        return sum(
            segment.encoded_bytes if isinstance(segment, Base64File) else len(segment)
            for segment in self.segments
        )

    def content(self) -> bytes | AsyncIterator[bytes]:
        """What an HTTP client sends: one piece where there is no file to read."""
        match self.segments:
            case (bytes(whole),):
                return whole
            case _:
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
                async for piece in _pieces(segment.path, segment.size_bytes):
                    yield pybase64.b64encode(piece)


async def _pieces(path: Path, size_bytes: int) -> AsyncIterator[bytes]:
    """All of the file, exactly as long as it was when probed."""
    left = size_bytes
    try:
        async with aiofiles.open(path, "rb") as source:
            while left > 0 and (data := await source.read(min(left, _PIECE_BYTES))):
                left -= len(data)
                yield data
            grown = await source.read(1)
    except OSError as exc:
        raise unreadable(path, exc) from exc
    if left or grown:
        raise changed(path)


def unreadable(path: Path, exc: OSError) -> MediaError:
    """The error for a file that could be read when it was probed."""
    return MediaError(f"{path} can't be read any more: {exc.strerror}")


def changed(path: Path) -> MediaError:
    """The error for a file whose size is not the one that was probed."""
    return MediaError(f"{path} changed its size while it was sent; run it again")
