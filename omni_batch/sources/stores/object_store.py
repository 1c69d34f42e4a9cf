"""ObjectStore: what all stores can do, whatever library talks to them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from omni_batch.sources.spool import Target


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How stores are talked to, beside what the environment says."""

    addressing: Literal["auto", "path", "virtual"] = "auto"
    """Where a bucket's name goes in addresses of S3's kind: in the path, or before the host."""
    anonymous: bool = False
    """Requests carry no signature, as public buckets take them."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a store says of an object."""

    size_bytes: int
    version: str
    """Another content has another one; empty where the store does not say."""


class ObjectStore(Protocol):
    """One bucket, or what is like one. Used by any number of threads.

    All raise SourceFault.
    """

    is_public: bool
    """Whether the service could reach it by its address."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys that begin with a prefix, to the letter, in the store's order, page by page."""

    def copy(self, key: str, target: Target, most_bytes: int | None = None) -> None:
        """Write all of an object, as it is at one moment; one of more bytes is a fault."""

    def head(self, key: str) -> Head:
        """What is known of an object without reading it."""

    def signed(self, key: str, valid_s: int) -> str | None:
        """A URL that anybody may read for so long; None where the store can't make one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as a listing has it."""

    key: str
    size_bytes: int
    version: str
    modified: datetime
    """By the store's clock."""


class WritableStore(Protocol):
    """One bucket that is written to. Every object is there whole or not at all.

    Used by any number of threads. All raise SourceFault.
    """

    def put(self, key: str, content: bytes | Path) -> str:
        """Write an object, in the place of what was there; its version."""

    def create(self, key: str, content: bytes) -> str | None:
        """Write an object where there is none; its version, or None where there is one."""

    def replace(self, key: str, content: bytes, version: str) -> str | None:
        """Write over one version of an object; None where it is another one by now, or gone."""

    def delete(self, key: str) -> None:
        """Remove an object that may be gone."""

    def entry(self, key: str) -> Entry | None:
        """What a listing would say of an object; None where there is none."""

    def read(self, key: str, most_bytes: int) -> bytes | None:
        """All of a small object; None where there is none."""

    def copy(self, key: str, target: Target, most_bytes: int | None = None) -> None:
        """As of `ObjectStore`."""

    def entries(self, folder: str) -> Iterator[Entry]:
        """All objects below a folder, page by page."""

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder."""

    def abort_uploads(self, folder: str) -> None:
        """End what was sent in parts below a folder by a process that has died."""
