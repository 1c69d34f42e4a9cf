"""Get a request's media to where the service can reach them, for the time of one attempt."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from omni_batch.config import MediaConfig
from omni_batch.errors import MediaError, MediaUnreachable
from omni_batch.providers.body import Body
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.transport import choose_transport, choose_transports
from omni_batch.providers.upload import Uploader
from omni_batch.providers.web.download import Downloader
from omni_batch.sources import Address, SourceFault, Sources
from omni_batch.text import display_name
from omni_batch.types import Media, Request

_SIGNED_FOR_S = 3600
"""The service fetches media at once; some models queue a request for minutes."""


@dataclass(frozen=True, slots=True)
class MediaDelivery:
    """Moves each medium by its transport. Shared by all items of a run."""

    config: MediaConfig
    dialect: Dialect
    uploader: Uploader
    downloader: Downloader
    moving: asyncio.Semaphore
    """Bounds the media that are uploaded or downloaded at once."""
    sources: Sources = field(default_factory=Sources)
    """Where objects of stores are read, and their addresses signed."""

    @asynccontextmanager
    async def delivered(
        self, request: Request, *, unreachable: bool = False
    ) -> AsyncIterator[Body]:
        """The body to send; what was downloaded for it is there until the block ends.

        Args:
            unreachable: the server has failed to fetch the URLs.

        Raises:
            MediaError: a medium is missing or can't be used.
            EndpointError: it can't be uploaded or downloaded now.
        """
        media = request.media()
        transports = choose_transports(media, self.config, self.dialect, unreachable=unreachable)
        moved: dict[Media, Media] = {}
        async with AsyncExitStack() as stack:
            for medium, transport in zip(media, transports, strict=True):
                if transport == "upload":
                    moved[medium] = await self._uploaded(medium)
                elif transport == "download":
                    moved[medium] = await self._downloaded(medium, stack)
                elif medium.object_version is not None:
                    moved[medium] = await self._signed(medium)
            if moved:
                at_hand = {medium: moved.get(medium, medium) for medium in media}
                messages = tuple(turn.with_media(at_hand) for turn in request.messages)
                request = replace(request, messages=messages)
            body = self.dialect.body(request)
            yield replace(body, names_urls="url" in transports)

    async def _uploaded(self, media: Media) -> Media:
        if media.path is None or media.size_bytes is None or media.sha256 is None:
            raise MediaError(
                f"{display_name(media.reference)} is not a local file and can't be uploaded"
            )
        async with self.moving:
            url = await self.uploader.upload(
                media.path,
                sha256=media.sha256,
                size_bytes=media.size_bytes,
                mime_type=media.mime_type,
            )
        return replace(media, url=url)

    async def _signed(self, media: Media) -> Media:
        """With an address that the service can fetch; made for each attempt, and kept nowhere."""
        address = Address.of(media.url or "")
        try:
            url = await asyncio.to_thread(self.sources.signed, address, _SIGNED_FOR_S)
        except SourceFault as exc:
            raise MediaError(str(exc)) from None
        if url is None:
            raise MediaError(
                f"{address}: its credentials can't sign a URL; set media.transport: inline"
            )
        return replace(media, url=url)

    async def _downloaded(self, media: Media, stack: AsyncExitStack) -> Media:
        # PyAV and Pillow: not paid for by text-only runs
        from omni_batch.requests.media.probe import probe_file

        path, held = await self._fetched(media, stack)
        fetched = await asyncio.to_thread(probe_file, path, media.kind, media.reference)
        fetched = replace(fetched, options=media.options, held=held)
        if (refused := self.dialect.refused_format(fetched)) is not None:
            raise MediaError(refused)
        if choose_transport(fetched, self.config, self.dialect) == "upload":
            return await self._uploaded(fetched)
        return fetched

    async def _fetched(self, media: Media, stack: AsyncExitStack) -> tuple[Path, object]:
        """The file of a URL or an object, and what to hold while it is needed."""
        async with self.moving:
            if media.object_version is None:
                fetched = self.downloader.fetched(media.url or "")
                return await stack.enter_async_context(fetched), None
            address, most = Address.of(media.url or ""), self.config.download_max_bytes
            try:
                file = await asyncio.to_thread(self.sources.object, address, most)
            except SourceFault as exc:
                raise MediaUnreachable(str(exc)) from None
            return file.path, file
