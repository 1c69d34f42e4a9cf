"""StoresReached: whether the stores that rows name can be read at all, before anything is sent."""

from collections import Counter
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
        self._rows_of = Counter[tuple[str, str]]()
        self._rows = 0

    def see(self, media: Iterable[Media]) -> None:
        """Take in the media of a row."""
        self._rows += 1
        places = {self._keep(address) for address in map(self._address, media) if address}
        self._rows_of.update(places)

    def _address(self, medium: Media) -> Address | None:
        try:
            return self._loader.address(medium.reference)
        except MediaError:  # the row's own failure, later
            return None

    def _keep(self, address: Address) -> tuple[str, str]:
        place = address.scheme, address.bucket
        if place in self._named or len(self._named) < _BUCKETS_AT_MOST:
            kept = self._named.setdefault(place, [])
            if len(kept) < _ASKED_FOR and address not in kept:
                kept.append(address)
        return place

    def refuse(self) -> None:
        """Raise ManifestError where no object of a bucket can be had.

        A single row among others fails alone: that may be a slip in its reference.
        """
        for place, addresses in self._named.items():
            if self._rows_of[place] == 1 < self._rows:
                continue
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
