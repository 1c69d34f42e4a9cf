"""A multipart form with one file, streamed from disk with its length known beforehand."""

import asyncio
import mimetypes
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from omni_batch.providers.files import pieces


class Form:
    """A multipart body of fields and one file, which is read from disk while it is sent."""

    def __init__(
        self, fields: Mapping[str, str], path: Path, size_bytes: int, mime_type: str = ""
    ) -> None:
        self._path, self._size_bytes = path, size_bytes
        boundary, name = secrets.token_hex(16), fields["key"].rpartition("/")[2]
        mime_type = mime_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        start = f'--{boundary}\r\nContent-Disposition: form-data; name="'
        head = "".join(f'{start}{key}"\r\n\r\n{value}\r\n' for key, value in fields.items())
        file = f'{start}file"; filename="{name}"\r\nContent-Type: {mime_type}\r\n\r\n'
        self._head, self._tail = (head + file).encode(), f"\r\n--{boundary}--\r\n".encode()
        length = len(self._head) + size_bytes + len(self._tail)
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(length),
        }

    async def stream(self, deadline: asyncio.Timeout, silence_s: float) -> AsyncIterator[bytes]:
        """The bytes in order; each piece that is taken puts the deadline off.

        Raises:
            MediaError: the file has vanished or changed its size.
        """
        loop = asyncio.get_running_loop()
        async for piece in self._pieces():
            deadline.reschedule(loop.time() + silence_s)
            yield piece

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield self._head
        async for piece in pieces(self._path, self._size_bytes):
            yield piece
        yield self._tail
