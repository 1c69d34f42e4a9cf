"""Reference → Media with what is known of it: files by their bytes, URLs by their hosts."""

import asyncio
from dataclasses import dataclass, replace

from omni_batch.doubts import Doubt
from omni_batch.fitting.fitter import Fitter
from omni_batch.providers.web.remote_probe import RemoteProber
from omni_batch.requests.media.loader import MediaLoader
from omni_batch.sources import Address
from omni_batch.text import is_data_uri
from omni_batch.types import Media

_SIGNED_FOR_S = 3600


@dataclass(frozen=True, slots=True)
class MediaSource:
    """Finds the media of rows. Shared by all of a run."""

    loader: MediaLoader
    prober: RemoteProber | None = None
    """None where URLs are not looked at."""
    fitter: Fitter | None = None
    """Makes media fit; None where those that don't are refused."""
    glances: MediaLoader | None = None
    """The same files, also of kinds that are only sent in another form; their pixels are left to
    whoever decodes them."""
    wholes: MediaLoader | None = None
    """The same, and all of their pixels are looked at."""
    checking: bool = False
    """Whether it is `check` that asks: nothing is made then, so every pixel is looked at."""

    async def load(self, reference: Media) -> Media:
        """One medium, found and probed.

        Raises:
            MediaError: missing, unreadable, outside the roots, too large, of another kind.
        """
        if self.fitter is not None and self.glances is not None:
            media = await self.glances.load(reference)
            if media.path is not None or is_data_uri(media.url or ""):
                return replace(media, traits=await self.fitter.traits(media))
        else:
            media = await self.loader.load(reference)
        if self.prober is None:
            return media
        if media.object_version is not None:
            return await self._probed_object(self.prober, media)
        if not (media.url or "").startswith(("http://", "https://")):
            return media
        return await self.prober.probe(media)

    async def seen_whole(self, reference: Media) -> Media:
        """One medium whose pixels nobody else will look at: all of them are there.

        Raises:
            MediaError: as of `load`.
        """
        return await (self.wholes or self.loader).load(reference)

    async def _probed_object(self, prober: RemoteProber, media: Media) -> Media:
        """By the address that the service would be given, which is kept nowhere."""
        address = Address.of(media.url or "")
        signed = await asyncio.to_thread(self.loader.sources.signed, address, _SIGNED_FOR_S)
        found = await prober.probe(replace(media, url=signed))
        return replace(found, url=media.url, object_version=media.object_version)

    def doubts(self) -> list[Doubt]:
        """Of the run as a whole, known at its end."""
        return self.prober.doubts() if self.prober else []

    async def aclose(self) -> None:
        """Close all connections to hosts."""
        if self.prober:
            await self.prober.aclose()
        if self.fitter:
            await self.fitter.aclose()
