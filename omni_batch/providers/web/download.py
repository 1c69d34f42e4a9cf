"""Media from the web for servers that can't fetch URLs: checked, bounded, on disk while in use."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiofiles

from omni_batch.errors import MediaError, MediaUnreachable
from omni_batch.providers.web.session import WebReply, WebSession
from omni_batch.store.disk import storage_errors

_READ_BYTES = 256 * 1024


@dataclass(slots=True)
class _Shared:
    """One URL's file and those who use it."""

    path: Path
    users: int = 0
    whole: bool = False
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)


class Downloader:
    """Fetches media into a folder of the run; each URL once while it is in use.

    Make it where an event loop runs.

    Args:
        folder: made when needed. What a crash leaves in it is its owner's to remove.
        max_bytes: largest file that is fetched.
        allow_private: whether loopback, private and other local addresses may be reached.
        connect_timeout_s: for name, connection and TLS together.
        idle_timeout_s: longest silence while the answer is awaited or read.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        allow_private: bool = False,
        connect_timeout_s: float = 15,
        idle_timeout_s: float = 60,
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._web = WebSession(
            allow_private=allow_private,
            connect_timeout_s=connect_timeout_s,
            idle_timeout_s=idle_timeout_s,
        )
        self._shared: dict[str, _Shared] = {}

    async def aclose(self) -> None:
        """Close all connections; files go when their users leave."""
        await self._web.aclose()

    @asynccontextmanager
    async def fetched(self, url: str) -> AsyncIterator[Path]:
        """The file at a URL, as long as the block lasts; for reading only, others may share it.

        Concurrent requests for the same URL share one download; if it fails, each tries itself.

        Raises:
            MediaError: too large, empty, compressed, gone, forbidden, or the URL is not to be used.
            MediaUnreachable: the host failed, timed out or broke off.
            StorageError: the folder can't be written.
        """
        shared = self._shared.setdefault(url, _Shared(self._folder / secrets.token_hex(16)))
        shared.users += 1
        try:
            async with shared.fetching:
                if not shared.whole:
                    await self._fetch(url, shared.path)
                    shared.whole = True
            yield shared.path
        finally:
            shared.users -= 1
            if not shared.users:
                del self._shared[url]
                with suppress(OSError):  # none was made, or it is gone
                    shared.path.unlink()

    async def _fetch(self, url: str, path: Path) -> None:
        async with self._web.opened(url) as reply:
            if (reply.length_bytes or 0) > self._max_bytes:
                raise self._too_large(reply.name, str(reply.length_bytes))
            await self._save(reply, path)

    async def _save(self, reply: WebReply, path: Path) -> None:
        size_bytes = 0
        with storage_errors(path, "written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            async with aiofiles.open(path, "wb") as file:
                while data := await reply.read(_READ_BYTES):
                    size_bytes += len(data)
                    if size_bytes > self._max_bytes:
                        raise self._too_large(reply.name, f"more than {self._max_bytes}")
                    await file.write(data)
        if size_bytes < (reply.length_bytes or 0):
            raise MediaUnreachable(
                f"{reply.name} broke off after {size_bytes} of {reply.length_bytes} bytes"
            )
        if not size_bytes:
            raise MediaError(f"{reply.name} is empty; check the file")

    def _too_large(self, name: str, size_bytes: str) -> MediaError:
        return MediaError(
            f"{name} takes {size_bytes} bytes; the cap is {self._max_bytes} "
            "(media.download_max_bytes)"
        )
