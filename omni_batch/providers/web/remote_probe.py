"""What stands behind a URL, by a few of its bytes: type, size and length where the host allows it.

The service fetches such media itself, so they never pass through here whole: the first bytes are
read, then the stretch that the header points to, mostly the last one.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import BinaryIO, Literal, cast
from urllib.parse import urlsplit

from omni_batch.doubts import Doubt
from omni_batch.errors import MediaError, MediaUnreachable
from omni_batch.providers.web.partial_file import PartialFile
from omni_batch.providers.web.session import WebReply, WebSession
from omni_batch.requests.media.loader import FORMAT_GUESSED
from omni_batch.types import Media

ProbeMode = Literal["head", "ranges"]
_FIRST_BYTES = 64 * 1024
_NEXT_BYTES = 256 * 1024
_MOST_STRETCHES = 5
"""Of one medium: together with the first bytes at most 1.3 MB, whatever a header points to."""
_AT_ONCE = 32
_CONNECT_TIMEOUT_S = 5.0
_IDLE_TIMEOUT_S = 10.0
_MOST_SILENT = 3
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


class RemoteProber:
    """Probes media behind http(s) URLs. Make it where an event loop runs.

    Args:
        mode: `head` asks for type and size only; `ranges` reads first and last bytes as well.
        most_urls: after so many different ones, the rest is left unknown.
        at_once: connections that there is room for.
    """

    def __init__(
        self,
        mode: ProbeMode,
        *,
        most_urls: int,
        allow_private: bool = False,
        at_once: int = _AT_ONCE,
    ) -> None:
        self._mode, self._most_urls = mode, most_urls
        self._session = WebSession(
            allow_private=allow_private,
            connect_timeout_s=_CONNECT_TIMEOUT_S,
            idle_timeout_s=_IDLE_TIMEOUT_S,
            connections=min(at_once, _AT_ONCE),
        )
        self._silent: Counter[str] = Counter()
        """How often a host was not there, since it last answered."""
        self._known: dict[tuple[str, str], asyncio.Task[Media]] = {}
        self.probed = 0
        """Different URLs asked for so far."""
        self.left_out = 0
        """Media that were not probed because there were too many."""

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.aclose()

    def doubts(self) -> list[Doubt]:
        """Of the run: media that nobody looked at, because there were too many."""
        if not self.left_out:
            return []
        message = (
            f"{self.left_out:,} media behind URLs were not probed, for media.probe_urls_max is "
            f"{self._most_urls:,}; their tokens are guessed"
        )
        return [Doubt("urls-not-probed", message)]

    async def probe(self, media: Media) -> Media:
        """The medium with what its host says of it; media of one URL are asked for once.

        Raises:
            MediaError: what stands there is of another kind, or broken.
        """
        key = media.kind, media.url or ""
        if key not in self._known:
            if self.probed >= self._most_urls:
                self.left_out += 1
                return media
            self.probed += 1
            self._known[key] = asyncio.create_task(self._probe(media))
        return await asyncio.shield(self._known[key])

    async def _probe(self, media: Media) -> Media:
        try:
            return await (self._by_head if self._mode == "head" else self._by_ranges)(media)
        except _NotAvailable as exc:
            doubt = Doubt("url-not-probed", f"{exc}; its tokens are guessed")
            return replace(media, doubts=(*media.doubts, doubt))

    async def _by_head(self, media: Media) -> Media:
        async with self._asked(media, {}, "HEAD") as reply:
            stated = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            return replace(media, mime_type=stated, size_bytes=reply.length_bytes)

    async def _by_ranges(self, media: Media) -> Media:
        begin, size_bytes, has_ranges = await self._begin(media)
        file = PartialFile(size_bytes or len(begin))
        file.add(0, begin)
        for _ in range(_MOST_STRETCHES):
            found = await asyncio.to_thread(_look_at, file, media)
            if _is_known(found) or file.missing is None or not has_ranges:
                break
            file.add(*await self._stretch(media, file))
        if not found.probed:
            return replace(media, size_bytes=size_bytes)
        doubts = (doubt for doubt in media.doubts if doubt.rule != FORMAT_GUESSED)
        known = (*doubts, *found.doubts)
        return replace(found, url=media.url, size_bytes=size_bytes, doubts=known)

    async def _begin(self, media: Media) -> tuple[bytes, int | None, bool]:
        """First bytes, size of the whole, and whether other stretches can be had."""
        async with self._asked(media, {"Range": f"bytes=0-{_FIRST_BYTES - 1}"}) as reply:
            data = await _read(reply, _FIRST_BYTES)
            if not reply.is_partial:
                return data, reply.length_bytes, False
            total = _TOTAL.fullmatch(reply.headers.get("Content-Range", ""))
            return data, int(total[1]) if total else None, total is not None

    async def _stretch(self, media: Media, file: PartialFile) -> tuple[int, bytes]:
        """What was missing, or the whole end of the file where that lies near it."""
        offset = min(file.missing or 0, max(0, file.size_bytes - _NEXT_BYTES))
        wanted = {"Range": f"bytes={offset}-{offset + _NEXT_BYTES - 1}"}
        async with self._asked(media, wanted) as reply:
            if not reply.is_partial:
                raise _NotAvailable(f"{reply.name} sends no part of it when asked twice")
            return offset, await _read(reply, _NEXT_BYTES)

    @asynccontextmanager
    async def _asked(
        self, media: Media, headers: dict[str, str], method: str = "GET"
    ) -> AsyncIterator[WebReply]:
        host = _host(media)
        if self._silent[host] >= _MOST_SILENT:
            raise _NotAvailable(f"{host} did not answer {_MOST_SILENT} times and is asked no more")
        try:
            async with self._session.opened(media.url or "", method=method, headers=headers) as it:
                self._silent[host] = 0
                yield it
        except MediaUnreachable as exc:
            self._silent[host] += exc.http_status is None
            raise _NotAvailable(str(exc)) from exc
        except MediaError as exc:
            raise _NotAvailable(str(exc)) from exc


class _NotAvailable(Exception):
    """The host did not let us look; the service may fare better."""


async def _read(reply: WebReply, most_bytes: int) -> bytes:
    data = bytearray()
    while len(data) < most_bytes and (piece := await reply.read(most_bytes - len(data))):
        data += piece
    return bytes(data)


def _host(media: Media) -> str:
    try:
        return urlsplit(media.url or "").hostname or ""
    except ValueError:
        return ""


def _is_known(media: Media) -> bool:
    """Whether all is known that a limit or an estimate asks for."""
    seen = media.kind == "audio" or media.width_px is not None
    return seen and (media.kind == "image" or media.duration_s is not None)


def _look_at(file: PartialFile, media: Media) -> Media:
    # PyAV and Pillow: not paid for by runs without media
    from omni_batch.requests.media.probe import probe

    return probe(cast(BinaryIO, file), media.kind, media.reference, whole=False)
