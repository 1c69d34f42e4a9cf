"""Reference → Media with what is known of it: files by their bytes, URLs by their hosts."""

from dataclasses import dataclass

from omni_batch.doubts import Doubt
from omni_batch.providers.web.remote_probe import RemoteProber
from omni_batch.requests.media.loader import MediaLoader
from omni_batch.types import Media


@dataclass(frozen=True, slots=True)
class MediaSource:
    """Finds the media of rows. Shared by all of a run."""

    loader: MediaLoader
    prober: RemoteProber | None = None
    """None where URLs are not looked at."""

    async def load(self, reference: Media) -> Media:
        """One medium, found and probed.

        Raises:
            MediaError: missing, unreadable, outside the roots, too large, of another kind.
        """
        media = await self.loader.load(reference)
        if self.prober is None or not (media.url or "").startswith(("http://", "https://")):
            return media
        return await self.prober.probe(media)

    def doubts(self) -> list[Doubt]:
        """Of the run as a whole, known at its end."""
        return self.prober.doubts() if self.prober else []

    async def aclose(self) -> None:
        """Close all connections to hosts."""
        if self.prober:
            await self.prober.aclose()
