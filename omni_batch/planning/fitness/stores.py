"""StoresReached: whether the stores that rows name can be read at all, before anything is sent."""

from collections.abc import Iterable

from omni_batch.errors import ManifestError, MediaError
from omni_batch.requests.media import MediaLoader
from omni_batch.sources import Address, SourceFault
from omni_batch.sources.stores.faults import Unreachable
from omni_batch.types import Media

_ASKED_FOR = 3
"""Objects of a bucket. One may be denied or gone; three in a row mean the bucket or its keys."""
_BUCKETS_AT_MOST = 100


class StoresReached:
    """Takes in a few objects of each bucket, and asks for them at the end."""

    def __init__(self, loader: MediaLoader) -> None:
        self._loader = loader
        self._named: dict[tuple[str, str], list[Address]] = {}

    def see(self, media: Iterable[Media]) -> None:
        """Take in the media of a row."""
        for medium in media:
            try:
                address = self._loader.address(medium.reference)
            except MediaError:  # the row's own failure, later
                continue
            if address is not None:
                self._keep(address)

    def _keep(self, address: Address) -> None:
        place = address.scheme, address.bucket
        if place not in self._named and len(self._named) == _BUCKETS_AT_MOST:
            return
        kept = self._named.setdefault(place, [])
        if len(kept) < _ASKED_FOR and address not in kept:
            kept.append(address)

    def refuse(self) -> None:
        """Raise ManifestError where no object of a bucket can be had."""
        for addresses in self._named.values():
            if (fault := self._fault_of_all(addresses)) is not None:
                raise ManifestError(str(fault))

    def _fault_of_all(self, addresses: Iterable[Address]) -> SourceFault | None:
        fault = None
        for address in addresses:
            try:
                self._loader.sources.head(address)
                return None
            except SourceFault as exc:
                if not exc.for_all:
                    return None
                fault = exc
                if isinstance(exc, Unreachable):
                    break
        return fault
