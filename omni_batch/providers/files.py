"""Local files on their way out: read in pieces, exactly as long as they were when probed."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiofiles

from omni_batch.errors import MediaError

PIECE_BYTES = 3 * 64 * 1024
"""A multiple of 3, so that every piece becomes base64 without padding."""


async def pieces(path: Path, size_bytes: int) -> AsyncIterator[bytes]:
    """All of the file, `PIECE_BYTES` at a time.

    Raises:
        MediaError: it has vanished or changed its size.
    """
    left = size_bytes
    try:
        async with aiofiles.open(path, "rb") as source:
            while left > 0 and (data := await source.read(min(left, PIECE_BYTES))):
                left -= len(data)
                yield data
            grown = await source.read(1)
    except OSError as exc:
        raise MediaError(f"{path} can't be read any more: {exc.strerror}") from exc
    if left or grown:
        raise MediaError(f"{path} changed its size while it was sent; run it again")
