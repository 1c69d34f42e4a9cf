"""Archives behind http(s) URLs: fetched whole, by the same rules as media."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from omni_batch.errors import MediaError, MediaUnreachable
from omni_batch.providers.web.session import WebSession
from omni_batch.sources import SourceFault
from omni_batch.sources.spool import Target

_READ_BYTES = 256 * 1024


class ArchiveFetch:
    """Writes what a URL leads to. Called from any thread, also from one with an event loop.

    Args:
        allow_private: whether loopback, private and other local addresses may be reached.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    def __call__(self, url: str, target: Target) -> None:
        """Fetch.

        Raises:
            SourceFault: the host refused, failed or broke off.
        """
        try:
            with ThreadPoolExecutor(1) as thread:  # an event loop of its own
                thread.submit(asyncio.run, self._fetch(url, target)).result()
        except (MediaError, MediaUnreachable) as exc:
            raise SourceFault(str(exc)) from exc

    async def _fetch(self, url: str, target: Target) -> None:
        web = WebSession(allow_private=self._allow_private)
        try:
            async with web.opened(url) as reply:
                size_bytes = 0
                while data := await reply.read(_READ_BYTES):
                    size_bytes += len(data)
                    target.write(data)
                if size_bytes < (reply.length_bytes or 0):
                    raise MediaUnreachable(
                        f"{reply.name} broke off after {size_bytes} of {reply.length_bytes} bytes"
                    )
        finally:
            await web.aclose()
