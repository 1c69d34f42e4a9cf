"""Sources: one place that all members and objects of a run come from."""

import os
from collections.abc import Iterator
from pathlib import Path

from omni_batch.sources.address import Address, is_store
from omni_batch.sources.archives import Archives
from omni_batch.sources.object_store import Head, StoreSettings
from omni_batch.sources.spool import Spool, Spooled
from omni_batch.sources.store_faults import Changed
from omni_batch.sources.stores import Stores


class Sources:
    """Reads what is no plain file, each thing once while it is in use.

    May be used by any number of threads. All methods raise SourceFault where something can't be
    read, and StorageError where the local disk is full.
    """

    def __init__(self, settings: StoreSettings | None = None, spool: Spool | None = None) -> None:
        self._spool = spool or Spool()
        self._stores = Stores(settings or StoreSettings())
        self.archives = Archives(self._spool)

    def member(self, path: Path, member: str, name: str) -> Spooled:
        """A member of an archive that lies here; as of `Archives.member`."""
        return self.archives.member(path, member, name)

    def takes(self, reference: str) -> bool:
        """Whether a reference is read here, with credentials of the environment.

        `oss://` is also what the service calls its own temporary storage: without OSS_ENDPOINT all
        such references are.
        """
        if not is_store(reference):
            return False
        return Address.of(reference).scheme != "oss" or bool(os.environ.get("OSS_ENDPOINT"))

    def object(self, address: Address, most_bytes: int | None = None) -> Spooled:
        """An object, whole and as it was at one moment."""
        try:
            return self._fetched(address, most_bytes)
        except Changed:
            return self._fetched(address, most_bytes)

    def keys(self, address: Address) -> Iterator[str]:
        """Keys that begin with that of an address, page by page."""
        return self._stores.of(address).keys(address.key)

    def head(self, address: Address) -> Head:
        """What the store says of an object."""
        return self._stores.of(address).head(address.key)

    def is_public(self, address: Address) -> bool:
        """Whether the service could reach the store."""
        return self._stores.of(address).is_public

    def signed(self, address: Address, valid_s: int) -> str | None:
        """A URL of an object for somebody without credentials; None where none can be made."""
        return self._stores.of(address).signed(address.key, valid_s)

    def _fetched(self, address: Address, most_bytes: int | None) -> Spooled:
        store = self._stores.of(address)
        return self._spool.hold(address, lambda target: store.copy(address.key, target, most_bytes))
