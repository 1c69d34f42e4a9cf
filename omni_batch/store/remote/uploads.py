"""Uploads: what is whole and final in a local copy goes to its store, in the order of the laws.

items.parquet first. Speech as soon as it is whole. Of a shard: the speech that its rows name, then
its part of attempts, then its part of results. run.json every few seconds, and last of all when the
run ends. All of it waits in threads; what waits is on the disk, and is found there again by the
next process.
"""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from omni_batch.errors import ConfigError, OmniBatchError, RunAtWork, StorageError
from omni_batch.sources.address import Address
from omni_batch.sources.fault import SourceFault
from omni_batch.sources.stores.object_store import StoreSettings
from omni_batch.store.disk import in_thread, storage_errors
from omni_batch.store.read import read_part
from omni_batch.store.record import RunRecord, read_record, record_bytes
from omni_batch.store.remote.copies import address_of, below
from omni_batch.store.remote.lease import NAME, RENEWED_EVERY_S, Lease
from omni_batch.store.remote.patience import Patience, opened, tried
from omni_batch.store.remote.published import Published, There, identity
from omni_batch.store.run_dir import RunDir

T = TypeVar("T")
_THREADS = 8
_EARLY_MOST = 10_000
"""Files of speech that wait for a thread; further ones go with their shard."""
_AT_ONCE = 1000
_RECORD_EVERY_S = 5.0
_MOST_WAITING_BYTES = 8 * 2**30
"""Of speech that is to be sent. With more, no further shard is begun until the store has caught
up."""
_KEPT_SPEECH_BYTES = 2**30
"""Of speech that was sent; older files are removed here."""
_LOOK_EVERY_S = 1.0


class Publishing(Protocol):
    """What a run does beside its local directory."""

    def final(self, path: Path) -> None:
        """A file has its name now. Called from any thread, and never waits."""

    async def room(self, is_over: Callable[[], bool]) -> None:
        """Until there is room on the disk for what the next shard leaves to be sent."""

    async def settled(self, hurried: Callable[[], Awaitable[object]], grace_s: float) -> None:
        """Until all finished shards are sent, or it has failed. Once hurried, for so long."""

    async def end(self, record: RunRecord) -> None:
        """Say that the run is finished.

        Raises:
            StorageError: that can't be said, or is not true.
        """


class NoPublishing:
    """A run that has its place in a local folder."""

    def final(self, path: Path) -> None:
        """Nobody else wants it."""

    async def room(self, is_over: Callable[[], bool]) -> None:
        """There is."""

    async def settled(self, hurried: Callable[[], Awaitable[object]], grace_s: float) -> None:
        """It is."""

    async def end(self, record: RunRecord) -> None:
        """run.json says it."""


@asynccontextmanager
async def publishing(
    directory: RunDir, record: RunRecord, stop: Callable[[OmniBatchError], None]
) -> AsyncIterator[Publishing]:
    """Publish what a run makes, where its directory is the local copy of one at a store.

    Args:
        stop: ends the run in order.

    Raises:
        ConfigError: the store can't be written; nothing was sent.
        RunAtWork: another process, of whatever machine, works on it.
    """
    address = address_of(directory.root)
    if address is None:
        yield NoPublishing()
        return
    loop = asyncio.get_running_loop()
    uploads = Uploads(directory, record, address, lambda why: loop.call_soon_threadsafe(stop, why))
    try:
        await asyncio.to_thread(uploads.begin)
        yield uploads
    finally:
        uploads.hurry()
        await in_thread(uploads.close)


def publish_changes(directory: RunDir) -> None:
    """Publish what was changed in the local copy of a finished run; of a folder, nothing is.

    Raises:
        ConfigError, RunAtWork: as `publishing`.
        StorageError: it can't be published.
    """
    failed: list[OmniBatchError] = []

    async def publish() -> None:
        record = read_record(directory.record)
        async with publishing(directory, record, failed.append) as outlet:
            await outlet.settled(asyncio.Event().wait, 0)
            await outlet.end(record)

    if address_of(directory.root) is not None:
        asyncio.run(publish())
    if failed:
        raise failed[0]


class Uploads:
    """Sends what a run makes. As `Publishing`."""

    def __init__(
        self,
        directory: RunDir,
        record: RunRecord,
        address: Address,
        stop: Callable[[OmniBatchError], object],
    ) -> None:
        stores = record.config.get("stores") or {}
        settings = StoreSettings(stores.get("addressing", "auto"), stores.get("anonymous", False))
        self._directory, self._record, self._address = directory, record, address
        self._store = opened(address, settings)
        self._stop = stop
        self._over = threading.Event()
        """Nothing more is tried again."""
        self._closing = threading.Event()
        retry = record.config.get("retry") or {}
        self._patience = Patience(retry.get("outage_timeout_s", 600), self._over)
        self._lease = Lease(self._store, self._key(NAME), f"run {address}", pause=self._over.wait)
        self._published: Published | None = None
        self._pool = ThreadPoolExecutor(_THREADS, "upload")
        self._shards: queue.SimpleQueue[int | Future[object] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._work, self._beat)
        ]
        self._lock, self._record_lock = threading.Lock(), threading.Lock()
        self._waiting: dict[str, int] = {}
        """Bytes of speech that is to be sent."""
        self._kept: deque[tuple[list[str], int]] = deque()
        self._sent: dict[str, There] = {}
        """Speech that was sent and is not on the list yet: that takes its time for each one."""
        self._failed: StorageError | None = None
        self._said, self._has_ended = b"", False

    # --- from the run's side ---

    def begin(self) -> None:
        """Take the run for this process, and begin to send what is left of earlier ones.

        Raises:
            ConfigError, RunAtWork: as `publishing`.
        """
        try:
            tried(self._lease.take, self._over.wait)
            self._published = Published(self._directory.root)
            self._refuse_another()
            with suppress(SourceFault):  # who may not list them has them ended by the bucket
                self._store.abort_uploads(self._address.key)
        except SourceFault as exc:
            raise ConfigError(f"output {self._address}: {exc}; nothing was sent") from exc
        for number in self._record.shards:
            if self._directory.results(number).exists():
                self._shards.put(number)
        for thread in self._threads:
            thread.start()

    def final(self, path: Path) -> None:
        """As of `Publishing`."""
        if path.parent.name == "results":
            self._shards.put(int(path.stem.rpartition("-")[2]))
        elif path.parent.name == "audio" and path.parent.parent == self._directory.root:
            with self._lock:
                self._waiting[self._name(path)] = path.stat().st_size
                is_early = len(self._waiting) <= _EARLY_MOST
            if is_early and not self._closing.is_set():
                self._pool.submit(self._send_early, path)

    async def room(self, is_over: Callable[[], bool]) -> None:
        """As of `Publishing`."""
        # Files are sent by threads, which know no events of a loop.
        while self._waiting_bytes() > _MOST_WAITING_BYTES and not is_over():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_EVERY_S)

    def _waiting_bytes(self) -> int:
        with self._lock:
            return sum(self._waiting.values())

    async def settled(self, hurried: Callable[[], Awaitable[object]], grace_s: float) -> None:
        """As of `Publishing`."""
        done: Future[object] = Future()
        self._shards.put(done)
        sent: asyncio.Future[object] = asyncio.wrap_future(done)
        stopping: asyncio.Future[object] = asyncio.ensure_future(hurried())
        await asyncio.wait({sent, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not sent.done():
            await asyncio.wait({sent}, timeout=grace_s)
        stopping.cancel()

    async def end(self, record: RunRecord) -> None:
        """As of `Publishing`."""
        await in_thread(self._end, record)

    def hurry(self) -> None:
        """Try nothing again from now on."""
        self._over.set()

    def close(self) -> None:
        """Leave the run to others. What was not sent is found by the next process here."""
        self._closing.set()
        self._shards.put(None)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._pool.shutdown()
        if self._failed is None and self._threads[0].ident is not None:
            with suppress(SourceFault, OSError, StorageError):  # the next process says it
                self._say(self._directory.record.read_bytes)
        self._lease.release()
        if self._published is not None:
            with suppress(StorageError):
                self._take_note()
            self._published.close()

    # --- threads ---

    def _work(self) -> None:
        """Send finished shards, one after the other."""
        self._guarded(lambda: self._send(self._directory.items))
        self._guarded(self._say_so_far)
        while (next_one := self._shards.get()) is not None:
            if isinstance(next_one, Future):
                next_one.set_result(None)
            elif not self._closing.is_set():
                self._guarded(partial(self._send_shard, next_one))

    def _beat(self) -> None:
        """Show that this process lives, and how far it is."""
        renewed_s = time.monotonic()
        while not self._closing.wait(_RECORD_EVERY_S):
            if time.monotonic() - renewed_s >= RENEWED_EVERY_S:
                self._guarded(self._renew)
                renewed_s = time.monotonic()
            self._guarded(self._say_so_far)

    def _renew(self) -> None:
        try:
            self._patience.until_done(self._lease.renew)
        except RunAtWork as exc:
            raise StorageError(f"{exc}; what is done is kept on this machine") from exc

    def _guarded(self, work: Callable[[], None]) -> None:
        """What can't be sent stops the run, once."""
        if self._failed is not None:
            return
        try:
            work()
        except SourceFault as exc:
            if not self._over.is_set():
                self._fail(self._unsent(exc))
        except StorageError as exc:
            self._fail(exc)

    def _fail(self, why: StorageError) -> None:
        with self._lock:
            if self._failed is not None:
                return
            self._failed = why
        self._over.set()
        self._stop(why)

    def _unsent(self, fault: SourceFault) -> StorageError:
        return StorageError(
            f"{fault}; what is done is kept on this machine and published by: "
            f"omni-batch resume {self._address}"
        )

    # --- files ---

    def _send_early(self, path: Path) -> None:
        self._guarded(lambda: self._send(path))

    def _send_shard(self, number: int) -> None:
        results = self._directory.results(number)
        spoken = read_part(results, ["audio_path"])["audio_path"].drop_null().to_pylist()
        paths = [self._directory.root / name for name in spoken]
        for first in range(0, len(paths), _AT_ONCE):
            list(self._pool.map(self._send, self._unsent_of(paths[first : first + _AT_ONCE])))
        self._take_note()
        self._refuse_missing(paths)
        self._send(self._directory.attempts(number))
        self._send(results)
        self._say_so_far()
        self._keep_few(paths)

    def _unsent_of(self, paths: list[Path]) -> list[Path]:
        """Those that did not go ahead of their shard."""
        return [path for path in paths if not self._is_sent(path)]

    def _is_sent(self, path: Path) -> bool:
        sent = self._sent.get(name := self._name(path))
        if sent is not None and sent.local == identity(path):
            return True
        return self._list.holds(name, path)

    def _take_note(self) -> None:
        with self._lock:
            sent, self._sent = self._sent, {}
        self._list.put_all(sent)

    def _refuse_missing(self, paths: list[Path]) -> None:
        for path in paths:
            if self._list.get(self._name(path)) is None:
                raise StorageError(f"{path} is gone, and was not published yet; resume asks again")

    def _send(self, path: Path) -> None:
        """Send a file as it is now, unless it is there."""
        if self._over.is_set():
            raise SourceFault("it is over")
        name, known_by = self._name(path), identity(path)
        if known_by is not None and not self._is_sent(path):
            with suppress(FileNotFoundError):  # it was removed: its item has no result
                size_bytes = path.stat().st_size
                version = self._patience.until_done(lambda: self._store.put(self._key(name), path))
                self._note(path, There(size_bytes, version, known_by))
        with self._lock:
            self._waiting.pop(name, None)

    def _note(self, path: Path, there: There) -> None:
        if path.parent.name != "audio":
            self._list.put(self._name(path), there)
            return
        with self._lock:
            self._sent[self._name(path)] = there

    def _keep_few(self, paths: list[Path]) -> None:
        """Remove the oldest speech that is at the store, where there is much."""
        sizes = [path.stat().st_size for path in paths if path.exists()]
        self._kept.append(([self._name(path) for path in paths], sum(sizes)))
        while sum(size for _, size in self._kept) > _KEPT_SPEECH_BYTES:
            for name in self._kept.popleft()[0]:
                path = self._directory.root / name
                if self._list.holds(name, path):
                    path.unlink(missing_ok=True)

    # --- run.json ---

    def _say_so_far(self) -> None:
        if not self._list.holds(self._name(self._directory.items), self._directory.items):
            return
        with storage_errors(self._directory.record, "read"):
            self._patience.until_done(lambda: self._say(self._directory.record.read_bytes))

    def _say(self, read: Callable[[], bytes], *, is_end: bool = False) -> None:
        with self._record_lock:  # an older one never takes the place of a newer one
            content = read()
            is_said = content == self._said or (self._has_ended and not self._closing.is_set())
            if is_end or not is_said:
                name = self._name(self._directory.record)
                version = self._store.put(self._key(name), content)
                self._list.put(name, There(len(content), version, None))
                self._said, self._has_ended = content, is_end or self._has_ended

    def _end(self, record: RunRecord) -> None:
        content = record_bytes(record)
        try:
            self._refuse_unsent(record)
            self._patience.until_done(lambda: self._say(lambda: content, is_end=True))
        except SourceFault as exc:
            raise self._unsent(exc) from exc

    def _refuse_unsent(self, record: RunRecord) -> None:
        if self._failed is not None:
            raise self._failed
        for number in record.shards:
            for path in (self._directory.attempts(number), self._directory.results(number)):
                if not self._list.holds(self._name(path), path):
                    raise StorageError(f"{path} is not published; resume {self._address}")

    def _refuse_another(self) -> None:
        """Raise where the run at the store is not the one that is known here."""
        name = self._name(self._directory.record)
        there, known = self._store.entry(self._key(name)), self._list.get(name)
        if there is not None and (known is None or known.version != there.version):
            raise RunAtWork(
                f"run {self._address} exists already, and was worked on elsewhere: go on with it "
                f"by omni-batch resume {self._address}, or choose another --run-id"
            )

    @property
    def _list(self) -> Published:
        if self._published is None:
            raise StorageError(f"run {self._address} has not begun to be published")
        return self._published

    def _name(self, path: Path) -> str:
        return path.relative_to(self._directory.root).as_posix()

    def _key(self, name: str) -> str:
        return below(self._address, name).key
