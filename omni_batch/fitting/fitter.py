"""Fitter: looks closer at media, and makes what was decided, each of it once."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar
from weakref import WeakValueDictionary

from omni_batch.changes import ImageChange, Traits
from omni_batch.errors import MediaError, StorageError
from omni_batch.fitting.cache import FitCache, Kept
from omni_batch.fitting.decisions import Wanted
from omni_batch.fitting.tasks import Look, Make
from omni_batch.fitting.workers import Workers
from omni_batch.text import display_name
from omni_batch.types import Media

T = TypeVar("T")
_TRAITS_KEPT = 100_000
_LARGE_PIXELS = 30_000_000
"""Images above it are decoded one at a time: each may take half a gigabyte."""


class Fitter:
    """Shared by all items of a run or a check. To be closed."""

    def __init__(self, cache: FitCache, workers: Workers) -> None:
        self._cache, self._workers = cache, workers
        self._traits: OrderedDict[tuple[str, str], Traits] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._large = asyncio.Lock()

    async def aclose(self) -> None:
        """End the workers."""
        await self._workers.aclose()

    async def traits(self, medium: Media) -> Traits:
        """What a closer look at a file or a data URI finds.

        Raises:
            MediaError: it is damaged, or not what it should be.
            StorageError: no worker can be started.
        """
        key = (medium.kind, medium.sha256 or str(medium.path))
        if (known := self._traits.get(key)) is not None:
            return known
        with _named(medium):
            reply = await self._workers.do(Look(_source(medium), medium.kind))
        found = reply.image or reply.sound or reply.film
        if found is None:
            raise MediaError(f"{display_name(medium.reference)} can't be looked into")
        self._traits[key] = found
        while len(self._traits) > _TRAITS_KEPT:
            self._traits.popitem(last=False)
        return found

    @asynccontextmanager
    async def made(self, wanted: Sequence[Wanted]) -> AsyncIterator[list[Kept]]:
        """What is wanted, as files that are there until the block ends; kept from earlier, or made.

        Raises:
            MediaError: a medium can't be changed.
            StorageError: nothing can be written, or no worker be started.
        """
        with self._cache.in_use(tuple(each.key for each in wanted)):
            yield [await self._made(each) for each in wanted]

    async def _made(self, wanted: Wanted) -> Kept:
        lock = self._locks.setdefault(wanted.key, asyncio.Lock())
        async with lock:
            kept = await asyncio.to_thread(self._cache.find, wanted.key)
            if kept is not None:
                return kept
            with _named(wanted.medium):
                if _is_large(wanted):
                    async with self._large:
                        return await self._make(wanted)
                return await self._make(wanted)

    async def _make(self, wanted: Wanted) -> Kept:
        source = _source(wanted.medium)
        try:
            with self._cache.draft() as folder:
                reply = await self._workers.do(
                    Make(source, wanted.change, str(folder), wanted.medium.sha256)
                )
                if reply.made is None:
                    raise MediaError("nothing came out of it")
                return await asyncio.to_thread(self._cache.keep, wanted.key, folder, reply.made)
        except OSError as exc:
            raise StorageError(
                f"media that were made to fit can't be written: {exc.strerror}"
            ) from exc


def _source(medium: Media) -> str:
    return medium.url if medium.url is not None else str(medium.path)


def _is_large(wanted: Wanted) -> bool:
    medium = wanted.medium
    pixels = (medium.width_px or 0) * (medium.height_px or 0)
    return isinstance(wanted.change, ImageChange) and pixels > _LARGE_PIXELS


class _named:
    """Errors within name the medium."""

    def __init__(self, medium: Media) -> None:
        self._name, self._kind = display_name(medium.reference), medium.kind

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, MediaError):
            raise MediaError(f"{self._name} can't be made to fit: {error}") from error
