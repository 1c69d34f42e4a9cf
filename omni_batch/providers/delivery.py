"""Get a request's media to where the service can reach them, for the time of one attempt."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from omni_batch.config import MediaConfig
from omni_batch.errors import MediaError
from omni_batch.providers.body import Body
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.download import Downloader
from omni_batch.providers.transport import Transport, choose_transport, choose_transports
from omni_batch.providers.upload import Uploader
from omni_batch.types import Frames, Media, Message, Part, Request


@dataclass(frozen=True, slots=True)
class MediaDelivery:
    """Moves each medium by its transport. Shared by all items of a run."""

    config: MediaConfig
    dialect: Dialect
    uploader: Uploader
    downloader: Downloader

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
        transports = choose_transports(
            request.media(), self.config, self.dialect, unreachable=unreachable
        )
        if {"url", "inline"}.issuperset(transports):
            yield self.dialect.encode(request)
            return
        in_order = iter(transports)
        async with AsyncExitStack() as stack:
            messages = [await self._carry(turn, in_order, stack) for turn in request.messages]
            yield self.dialect.encode(replace(request, messages=tuple(messages)))

    async def _carry(
        self, message: Message, transports: Iterator[Transport], stack: AsyncExitStack
    ) -> Message:
        parts: list[Part] = []
        for part in message.parts:
            match part:
                case str():
                    parts.append(part)
                case Media():
                    parts.append(await self._move(part, next(transports), stack))
                case Frames(images):
                    moved = [await self._move(image, next(transports), stack) for image in images]
                    parts.append(Frames(tuple(moved)))
        return replace(message, parts=tuple(parts))

    async def _move(self, media: Media, transport: Transport, stack: AsyncExitStack) -> Media:
        match transport:
            case "upload":
                return replace(media, url=await self._upload(media))
            case "download":
                return await self._download(media, stack)
            case "url" | "inline":
                return media

    async def _upload(self, media: Media) -> str:
        if media.path is None or media.size_bytes is None or media.sha256 is None:
            raise MediaError(f"{media.reference} is not a local file and can't be uploaded")
        return await self.uploader.upload(
            media.path,
            sha256=media.sha256,
            size_bytes=media.size_bytes,
            mime_type=media.mime_type,
        )

    async def _download(self, media: Media, stack: AsyncExitStack) -> Media:
        from omni_batch.requests.probe import (
            probe,  # PyAV and Pillow: not paid for by text-only runs
        )

        path = await stack.enter_async_context(self.downloader.fetched(media.url or ""))
        fetched = await asyncio.to_thread(probe, path, media.kind, media.reference)
        if choose_transport(fetched, self.config, self.dialect) == "upload":
            return replace(fetched, url=await self._upload(fetched))
        return fetched
