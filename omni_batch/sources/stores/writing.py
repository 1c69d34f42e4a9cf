"""Writing to a bucket through obstore: an object is there whole, or not at all.

Never through a file object that is "open for writing": those of s3fs and pyarrow publish what was
written so far when an exception leaves the block.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, InvalidPathError, PreconditionError

from omni_batch.sources.fault import SourceFault
from omni_batch.sources.spool import Target
from omni_batch.sources.stores import faults
from omni_batch.sources.stores.object_store import Entry
from omni_batch.sources.stores.through_obstore import ObstoreBucket
from omni_batch.text import display_name

_PIECE_BYTES = 8 * 2**20
"""Larger files are sent in pieces of this size, which S3 wants to be 5 MiB at least and 10,000 at
most (Amazon S3, "Multipart upload limits"): files of up to 80 GB."""
_PIECES_AT_ONCE = 4
_LISTED_AT_ONCE = 1000


class ObstoreWriter:
    """One bucket. As `WritableStore`.

    Args:
        name: `s3://bucket`.
        store: of obstore.
        abort: ends unfinished uploads, by bucket and prefix; None: the store needs none of it.
    """

    def __init__(
        self, name: str, store: Any, abort: Callable[[str, str], None] | None = None
    ) -> None:
        self._name, self._store, self._abort = name, store, abort
        self._reading = ObstoreBucket(name, store, is_public=False)

    def put(self, key: str, content: bytes | Path) -> str:
        """As of `WritableStore`; a large file in pieces, and what fails on the way is aborted."""
        if isinstance(content, Path) and content.stat().st_size <= _PIECE_BYTES:
            content = content.read_bytes()
        with self._faults(key, "written"):
            return _version(
                obstore.put(
                    self._store,
                    key,
                    content,
                    use_multipart=isinstance(content, Path),
                    chunk_size=_PIECE_BYTES,
                    max_concurrency=_PIECES_AT_ONCE,
                )
            )

    def create(self, key: str, content: bytes) -> str | None:
        """As of `WritableStore`: `If-None-Match: *`."""
        return self._put_if(key, content, "create")

    def replace(self, key: str, content: bytes, version: str) -> str | None:
        """As of `WritableStore`: `If-Match`, or the generation that Google counts."""
        with self._faults(key, "read"):
            try:
                found = obstore.head(self._store, key)
            except FileNotFoundError:
                return None
        if _version(found) != version:
            return None
        held = {name: found[name] for name in ("e_tag", "version") if found.get(name)}
        return self._put_if(key, content, held)

    def delete(self, key: str) -> None:
        """As of `WritableStore`."""
        with self._faults(key, "removed"), suppress(FileNotFoundError):
            obstore.delete(self._store, key)

    def entry(self, key: str) -> Entry | None:
        """As of `WritableStore`."""
        with self._faults(key, "read"):
            try:
                return _entry(obstore.head(self._store, key))
            except FileNotFoundError:
                self._refuse_missing_bucket(key)
                return None

    def read(self, key: str, most_bytes: int) -> bytes | None:
        """As of `WritableStore`."""
        with self._faults(key, "read"):
            try:
                found = obstore.get(self._store, key)
            except FileNotFoundError as exc:
                _refuse_bucket(exc)
                return None
            faults.refuse_larger(self._named(key), found.meta["size"], most_bytes)
            return bytes(found.bytes())

    def copy(self, key: str, target: Target, most_bytes: int | None = None) -> None:
        """As of `WritableStore`."""
        self._reading.copy(key, target, most_bytes)

    def entries(self, folder: str) -> Iterator[Entry]:
        """As of `WritableStore`."""
        with self._faults(folder, "listed"):
            for page in obstore.list(self._store, folder, chunk_size=_LISTED_AT_ONCE):
                yield from map(_entry, page)

    def folders(self, folder: str) -> list[str]:
        """As of `WritableStore`."""
        with self._faults(folder, "listed"):
            found = obstore.list_with_delimiter(self._store, folder or None)["common_prefixes"]
        return [path.rstrip("/").rpartition("/")[2] for path in found]

    def abort_uploads(self, folder: str) -> None:
        """As of `WritableStore`."""
        if self._abort is not None:
            self._abort(self._name.partition("://")[2], f"{folder}/")

    def _put_if(self, key: str, content: bytes, mode: Any) -> str | None:
        with self._faults(key, "written"):
            try:
                return _version(obstore.put(self._store, key, content, mode=mode))
            except (AlreadyExistsError, PreconditionError):
                return None
            except FileNotFoundError as exc:
                _refuse_bucket(exc)
                return None

    def _refuse_missing_bucket(self, key: str) -> None:
        """HEAD has no body, and thus no code: ask for a byte to hear whether there is a bucket."""
        try:
            obstore.get(self._store, key, options={"range": (0, 1)})
        except FileNotFoundError as exc:
            _refuse_bucket(exc)

    def _named(self, key: str) -> str:
        return display_name(f"{self._name}/{key}")

    @contextmanager
    def _faults(self, key: str, done: str) -> Iterator[None]:
        try:
            yield
        except SourceFault:
            raise
        except InvalidPathError:
            raise SourceFault(
                f"{self._named(key)} holds an object whose name can't be listed (with //, . or .. "
                "as a part, or control characters); remove it",
                for_all=True,
            ) from None
        except (BaseError, ValueError, FileNotFoundError) as exc:
            raise faults.of_answer(self._named(key), self._name, str(exc), done) from exc


def _refuse_bucket(exc: FileNotFoundError) -> None:
    """Raise it on where the bucket is missing and not only the object."""
    if "NoSuchBucket" in str(exc):
        raise exc


def _entry(found: Any) -> Entry:
    modified: datetime = found["last_modified"]
    return Entry(found["path"], found["size"], _version(found), modified)


def _version(found: Any) -> str:
    """Listings and answers quote it, or do not."""
    return str(found.get("e_tag") or found.get("version") or "").strip('"')
