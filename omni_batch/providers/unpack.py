"""A reply without its compression, which nobody asked for. Pure.

The bytes decide: proxies unpack a reply and leave the header, or pack it and say nothing.
"""

import re
import zlib
from collections.abc import Iterator

from omni_batch.errors import StreamError, UnsupportedReply

MAX_UNPACKED_BYTES = 2**28
"""Far above any packed reply; a bomb stops here."""
_PIECE_BYTES = 64 * 1024
_DECIDING_BYTES = 4
_TEXT_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:data|even|id|retr|[:{\[<\"]|\Z)")
_GZIP, _ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
_NOT_PACKED = frozenset({"", "identity", "none", "utf-8", "null", "plain", "binary", "chunked"})
_WINDOW = {"gzip": 16 + zlib.MAX_WBITS, "zlib": zlib.MAX_WBITS, "deflate": -zlib.MAX_WBITS}


class Unpacker:
    """Feed it the body as it comes.

    Args:
        said: the header Content-Encoding.
    """

    def __init__(self, said: str) -> None:
        self._said = said.strip().lower()
        self._start: bytes | None = b""  # until it is decided
        self._packing: str | None = None
        self._unpacking = zlib.decompressobj()
        self._unpacked_bytes = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The unpacked bytes, in pieces of bounded size.

        Raises:
            UnsupportedReply: packed in a way that is not understood.
            StreamError: damaged, or more than `MAX_UNPACKED_BYTES`.
        """
        if self._start is not None:
            data, self._start = self._start + data, None
            if len(data) < _DECIDING_BYTES and not _TEXT_START.match(data[:1]):
                self._start = data
                return
            self._decide(data)
        if self._packing is None:
            yield data
        else:
            yield from self._unpack(data)

    def end(self) -> bytes:
        """What was too little to decide on."""
        return self._start or b""

    def _decide(self, start: bytes) -> None:
        self._packing = _packing_of(start, self._said)
        if self._packing is not None:
            if self._packing not in _WINDOW:
                raise UnsupportedReply(
                    f"the service sent a reply compressed as {self._packing[:20]!r}, which was not "
                    "requested; the next would be the same, so it is not asked for again: set the "
                    "server or the gateway to send it as it is"
                )
            self._unpacking = zlib.decompressobj(_WINDOW[self._packing])

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        while data and not self._unpacking.eof:
            try:
                piece = self._unpacking.decompress(data, _PIECE_BYTES)
            except zlib.error:
                raise StreamError("the compressed reply is damaged") from None
            if not self._unpacked_bytes and piece and _packing_of(piece, "") is not None:
                raise UnsupportedReply("the service sent a reply that is compressed twice")
            self._unpacked_bytes += len(piece)
            if self._unpacked_bytes > MAX_UNPACKED_BYTES:
                raise StreamError(f"the reply exceeded {MAX_UNPACKED_BYTES} bytes when unpacked")
            yield piece
            data = self._unpacking.unconsumed_tail
            if self._unpacking.eof and (more := self._unpacking.unused_data).startswith(_GZIP):
                self._unpacking, data = zlib.decompressobj(_WINDOW["gzip"]), more


def _packing_of(start: bytes, said: str) -> str | None:
    """How the body is packed; None: not at all."""
    if start.startswith(_GZIP):
        return "gzip"
    if _ZLIB.match(start):
        return "zlib"
    if start.startswith(_ZSTANDARD):
        return "zstd"
    return None if said in _NOT_PACKED or _TEXT_START.match(start) else said
