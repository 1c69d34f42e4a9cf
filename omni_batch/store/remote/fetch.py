"""Runs at a store → their local copies, as far as a command needs them. Read then as ever.

A copy that a process of this machine works on is newer than the store, and is left as it is.
"""

import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Literal

from omni_batch.errors import ConfigError, RunAtWork
from omni_batch.sources.address import Address, is_store
from omni_batch.sources.fault import SourceFault
from omni_batch.sources.stores.object_store import Entry, WritableStore
from omni_batch.store.disk import PROCESS, draft_path, open_new, storage_errors
from omni_batch.store.remote.copies import below, made_runs_folder, output_address
from omni_batch.store.remote.kept import drop_old_copies
from omni_batch.store.remote.patience import opened, tried
from omni_batch.store.remote.published import Published, There, identity
from omni_batch.store.run_dir import RunDir
from omni_batch.store.trust.bounds import MOST_BYTES

Need = Literal["record", "tables", "all"]
"""`record`: run.json. `tables`: also the parts and items.parquet. `all`: also which files of speech
there are; none of them is fetched."""
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_FILES = {
    "results": re.compile(r"part-\d{5,9}\.parquet"),
    "attempts": re.compile(r"part-\d{5,9}\.parquet"),
    "audio": re.compile(r"[\w-][\w.-]{0,200}\.wav", re.ASCII),
}
"""What a run of ours is made of; other objects are left alone."""
_AT_ONCE = 8


def run_at(text: str | Path, need: Need = "tables") -> RunDir:
    """The run that a path or an address names.

    Raises:
        ConfigError: there is no run at the address, or the store can't be read.
        StorageError: the copy can't be written.
    """
    if not is_store(str(text)):
        return RunDir(Path(text))
    address = output_address(str(text))
    output, _, run_id = address.key.rpartition("/")
    return _copy_of(Address(address.scheme, address.bucket, output), run_id, need)


def runs_below(text: str, need: Need = "record") -> list[RunDir]:
    """The run that an address names, or those in a folder there, or those that match a pattern.

    Raises:
        ConfigError: as `run_at`; that there is none is no error.
    """
    address = output_address(text)
    try:
        store = opened(address)
        if tried(lambda: store.entry(below(address, "run.json").key)):
            return [run_at(str(address), need)]
        folder, pattern = address, "*"
        above, _, last = address.key.rpartition("/")
        if escape(last) != last:
            folder, pattern = Address(address.scheme, address.bucket, above), last
        names = [name for name in tried(lambda: store.folders(folder.key)) if _is_run_id(name)]
    except SourceFault as exc:
        raise ConfigError(str(exc)) from exc
    found = [name for name in sorted(names) if fnmatchcase(name, pattern)]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        runs = threads.map(lambda name: _copy_if_run(folder, name, need), found)
        return [run for run in runs if run is not None]


def is_taken(output: str, run_id: str) -> bool:
    """Whether a store has a run of that name.

    Raises:
        ConfigError: it can't be asked.
    """
    address = below(below(output_address(output), run_id), "run.json")
    try:
        return tried(lambda: opened(address).entry(address.key)) is not None
    except SourceFault as exc:
        raise ConfigError(str(exc)) from exc


def _is_run_id(name: str) -> bool:
    return _RUN_ID.fullmatch(name) is not None


def _copy_if_run(output: Address, run_id: str, need: Need) -> RunDir | None:
    address = below(below(output, run_id), "run.json")
    store = opened(address)
    if tried(lambda: store.entry(address.key)) is None:
        return None
    return _copy_of(output, run_id, need)


def _copy_of(output: Address, run_id: str, need: Need) -> RunDir:
    if not _is_run_id(run_id):
        raise ConfigError(f"{below(output, run_id)} names no run: write it as {output}/RUN_ID")
    copy = RunDir(made_runs_folder(str(output)) / run_id)
    address = below(output, run_id)
    store = opened(address)
    is_new = not copy.root.exists()
    with ExitStack() as stack:
        try:
            entry = tried(lambda: store.entry(below(address, "run.json").key))
            if entry is None and is_new:
                raise ConfigError(f"{address} is not a run: it has no run.json; check the address")
            with storage_errors(copy.root, "written"):
                copy.root.mkdir(0o700, exist_ok=True)
            stack.enter_context(copy.owned(leading=True))
            _Refresh(copy, address, store).bring(entry, need)
        except RunAtWork:  # of this machine
            return copy
        except SourceFault as exc:
            raise ConfigError(str(exc)) from exc
    drop_old_copies(copy.root)
    return copy


class _Refresh:
    """Brings one copy up to date. The copy is locked meanwhile."""

    def __init__(self, copy: RunDir, address: Address, store: WritableStore) -> None:
        self._copy, self._address, self._store = copy, address, store
        self._published = Published(copy.root)

    def bring(self, record: Entry | None, need: Need) -> None:
        """Fetch what is new. run.json is last: with it a copy is one."""
        try:
            if record is None:
                self._refuse_gone()
                return
            if need != "record":
                self._bring_tables()
            if need == "all":
                self._note("audio", self._listed("audio"))
            self._fetch_if_new("run.json", record)
        finally:
            self._published.close()

    def _refuse_gone(self) -> None:
        """What was never published is only here; what was, somebody has removed."""
        if self._published.get("run.json") is not None or not self._copy.record.exists():
            raise ConfigError(f"{self._address} is not a run: it has no run.json any more")

    def _bring_tables(self) -> None:
        items = self._store.entry(below(self._address, "items.parquet").key)
        if items is not None:
            self._fetch_if_new("items.parquet", items)
        for folder in ("attempts", "results"):  # the part of results marks the shard as done
            found = list(self._listed(folder))
            with ThreadPoolExecutor(_AT_ONCE) as threads:
                list(threads.map(lambda pair: self._fetch_if_new(*pair), found))
            self._note(folder, found)

    def _listed(self, folder: str) -> Iterator[tuple[str, Entry]]:
        prefix = below(self._address, folder).key
        for entry in self._store.entries(prefix):
            name = entry.key.removeprefix(f"{prefix}/")
            if _FILES[folder].fullmatch(name):
                yield f"{folder}/{name}", entry

    def _note(self, folder: str, found: Iterable[tuple[str, Entry]]) -> None:
        rows = ((name, entry.size_bytes, entry.version) for name, entry in found)
        self._published.listed(folder, rows)

    def _fetch_if_new(self, name: str, entry: Entry) -> None:
        """What is known in this version and is not here was removed here, to be made anew."""
        known = self._published.get(name)
        if known is not None and known.version == entry.version:
            return
        path = self._copy.root / name
        most_bytes = MOST_BYTES if name == "run.json" else None
        tried(lambda: self._fetch(path, entry, most_bytes))
        self._published.put(name, There(entry.size_bytes, entry.version, identity(path)))

    def _fetch(self, path: Path, entry: Entry, most_bytes: int | None) -> None:
        draft = draft_path(path)
        try:
            with storage_errors(path, "written"):
                path.parent.mkdir(exist_ok=True)
                with open_new(draft) as file:
                    self._store.copy(entry.key, file, most_bytes)
                # When it was written, by the store's clock: run.json is a sign of life.
                os.utime(draft, (entry.modified.timestamp(),) * 2)
                draft.replace(path)
        finally:
            PROCESS.remove(draft)
