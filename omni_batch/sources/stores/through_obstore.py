"""Buckets of S3, OSS and Google Cloud Storage through obstore, where it knows the names.

obstore 0.12 refuses keys with empty parts, `.`, `..` or control characters, takes a slash off
either end, and ends a listing at the first such key: those go to another store (`odd`).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import obstore
from obstore.exceptions import BaseError, InvalidPathError

from omni_batch.sources.fault import SourceFault
from omni_batch.sources.spool import Target
from omni_batch.sources.stores import faults
from omni_batch.sources.stores.object_store import Head, ObjectStore
from omni_batch.text import display_name

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_PAGE_KEYS = 1000
_PIECE_BYTES = 2**18
RETRY: Any = {
    "max_retries": 10,
    "retry_timeout": timedelta(seconds=35),
    "backoff": {
        "init_backoff": timedelta(seconds=0.2),
        "max_backoff": timedelta(seconds=8),
        "base": 2,
    },
}
"""SlowDown and lost connections are tried again, for less than a minute in all."""


def client_options(*, allow_http: bool) -> Any:
    """How long a request may take: a large object takes long, but is never silent for long."""
    return {
        "connect_timeout": timedelta(seconds=5),
        "read_timeout": timedelta(seconds=20),
        "timeout": timedelta(hours=6),
        "allow_http": allow_http,
    }


class ObstoreBucket:
    """One bucket.

    Args:
        name: `s3://bucket`.
        store: of obstore.
        odd: takes the keys that obstore has no name for; None: they are refused.
    """

    def __init__(
        self, name: str, store: Any, *, is_public: bool, odd: ObjectStore | None = None
    ) -> None:
        self._name, self._store, self._odd = name, store, odd
        self.is_public = is_public

    def keys(self, prefix: str) -> Iterator[str]:
        """As of `ObjectStore`."""
        folder = prefix[: prefix.rfind("/") + 1]
        # obstore knows whole folders only, and would list all of them for a part of a name.
        if self._odd and (folder != prefix or not self._lists(folder)):
            yield from self._odd.keys(prefix)
            return
        last = ""
        try:
            for last in self._listed(folder, prefix):
                if last.startswith(prefix):
                    yield last
                elif last > prefix:
                    return
        except InvalidPathError:
            if self._odd is None:
                raise SourceFault(
                    f"{self._name} has names that can't be listed (with //, . or .. as a part, or "
                    "control characters); list its objects in a manifest",
                    for_all=True,
                ) from None
            yield from (key for key in self._odd.keys(prefix) if key > last)

    def _lists(self, folder: str) -> bool:
        """Whether obstore names the keys in a folder; at the top it takes slashes off."""
        if folder or self._odd is None:
            return _is_plain(folder.removesuffix("/"))
        return next(self._odd.keys("/"), None) is None

    def _listed(self, folder: str, prefix: str) -> Iterator[str]:
        # Begins right before the prefix: its last sign may be in the middle of a name.
        offset = prefix[:-1] if len(prefix) - 1 > len(folder) else None
        with self._faults(self._name, listing=True):
            pages = obstore.list(self._store, folder or None, offset=offset, chunk_size=_PAGE_KEYS)
            for page in pages:
                for entry in page:
                    yield entry["path"]

    def copy(self, key: str, target: Target, most_bytes: int | None = None) -> None:
        """As of `ObjectStore`; one request, gone on with by its version where it is cut."""
        if (odd := self._odd_for(key)) is not None:
            return odd.copy(key, target, most_bytes)
        name = self._named(key)
        with self._faults(name):
            found = obstore.get(self._store, key)
            faults.refuse_larger(name, found.meta["size"], most_bytes)
        try:
            for piece in found.stream(min_chunk_size=_PIECE_BYTES):
                target.write(bytes(piece))
        except (BaseError, OSError) as exc:
            raise faults.broke_off(name, str(exc)) from exc

    def head(self, key: str) -> Head:
        """As of `ObjectStore`."""
        if (odd := self._odd_for(key)) is not None:
            return odd.head(key)
        with self._faults(self._named(key)):
            try:
                found = obstore.head(self._store, key)
            except (BaseError, FileNotFoundError) as exc:
                if "status code: 4" not in str(exc):
                    raise
                # HEAD has no body, and thus no code: ask for a byte to hear why.
                found = obstore.get(self._store, key, options={"range": (0, 1)}).meta
            return Head(found["size"], found.get("e_tag") or found.get("version") or "")

    def signed(self, key: str, valid_s: int) -> str | None:
        """As of `ObjectStore`."""
        if (odd := self._odd_for(key)) is not None:
            return odd.signed(key, valid_s)
        try:
            return str(obstore.sign(self._store, "GET", key, timedelta(seconds=valid_s)))
        except (BaseError, ValueError):  # credentials that can't sign
            return None

    def _odd_for(self, key: str) -> ObjectStore | None:
        if _is_plain(key):
            return None
        if self._odd is None:
            raise SourceFault(
                f"{self._named(key)}: names with //, . or .. as a part, control characters or a "
                "slash at an end can't be read there; give the object another name"
            )
        return self._odd

    def _named(self, key: str) -> str:
        return display_name(f"{self._name}/{key}")

    @contextmanager
    def _faults(self, name: str, *, listing: bool = False) -> Iterator[None]:
        try:
            yield
        except InvalidPathError:
            if listing:
                raise
            raise SourceFault(f"{name} has no name that can be read") from None
        except (BaseError, FileNotFoundError, ValueError, OSError) as exc:
            raise faults.of_answer(name, self._name, str(exc)) from exc


def _is_plain(key: str) -> bool:
    """Whether obstore takes a key as it is."""
    parts = key.split("/")
    return not _CONTROLS.search(key) and not any(part in ("", ".", "..") for part in parts)
