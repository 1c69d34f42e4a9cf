"""Sources: one place that all members and objects of a run come from."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from omni_batch.sources.address import Address, is_store
from omni_batch.sources.archives.reading import Archives
from omni_batch.sources.fault import SourceFault
from omni_batch.sources.spool import Spool, Spooled, Target
from omni_batch.sources.stores.faults import BrokeOff
from omni_batch.sources.stores.object_store import Head, StoreSettings
from omni_batch.sources.stores.opening import Stores
from omni_batch.text import display_name

_TRIES = 3
"""Of an object that breaks off; what a store refuses is tried again below."""


class Sources:
    """Reads what is no plain file, each thing once while it is in use.

    May be used by any number of threads. All methods raise SourceFault where something can't be
    read, and StorageError where the local disk is full.
    """

    def __init__(
        self,
        settings: StoreSettings | None = None,
        spool: Spool | None = None,
        web: Callable[[str, Target], None] | None = None,
    ) -> None:
        """Nothing is opened before it is asked for.

        Args:
            settings: how stores are talked to.
            spool: where files are kept; of its own by default.
            web: writes what an http(s) URL leads to; None: no archive of the web is read.
        """
        self._web = web
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
        for _ in range(_TRIES - 1):
            with suppress(BrokeOff):
                return self._fetched(address, most_bytes)
        return self._fetched(address, most_bytes)

    def web_file(self, url: str) -> Spooled:
        """What is behind an http(s) URL."""
        if (web := self._web) is None:
            raise SourceFault(f"{display_name(url)} is not read here; give an archive on the disk")
        return self._spool.hold(("web", url), lambda target: web(url, target))

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
