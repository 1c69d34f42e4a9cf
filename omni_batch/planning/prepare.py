"""Config → run directory: all that can be refused is refused here, before anything is sent."""

import platform
import re
import secrets
import shutil
import time
from asyncio import CancelledError
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from glob import escape
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import Any

import msgspec

from omni_batch._version import __version__
from omni_batch.config import Config, override_tree, parse_config
from omni_batch.doubts import Doubt
from omni_batch.errors import ConfigError, StorageError
from omni_batch.planning.checked_items import CheckedItems
from omni_batch.planning.consent import require_known
from omni_batch.planning.fitness.at_work import owned_alone, refuse_beside
from omni_batch.planning.fitness.sharing import refuse_sharing
from omni_batch.planning.learned_limits import carry_over, load_learned
from omni_batch.planning.plan import Plan, make_plan
from omni_batch.sources import is_store
from omni_batch.store.census import refuse_other_manifest, shortage_of_files
from omni_batch.store.disk import Disk, reason_of
from omni_batch.store.items import (
    ItemsWriter,
    choose_shard_size,
    failed_first,
    how_many,
)
from omni_batch.store.record import RunRecord, read_record, write_record
from omni_batch.store.remote.copies import made_runs_folder, shown
from omni_batch.store.remote.fetch import is_taken, runs_below
from omni_batch.store.remote.patience import refuse_unwritable
from omni_batch.store.run_dir import RunDir
from omni_batch.store.trust.marks import vouched
from omni_batch.text import host_of, redacted
from omni_batch.types import Item

_TELL_EVERY_ROWS = 1000
_CHANGEABLE = ("budget", "durability", "quota", "retry", "reuse", "shutdown_grace_s")
_CHANGEABLE_OF_ENDPOINT = ("fallback", "lost_jobs")
_ABANDONED_AFTER_S = 2.0  # between its making and its locking a draft looks as if left
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def prepare_run(
    plan: Plan,
    run_id: str | None = None,
    on_rows: Callable[[int], None] = lambda rows: None,
    *,
    failed: Collection[str] | None = None,
    workers: int = 1,
) -> RunDir:
    """Read the whole manifest into a new run directory, which appears only when all is well.

    Args:
        on_rows: called now and then with the number of rows read.
        failed: ids of rows that come first; None: the run is no night.
        workers: processes that are to share it.

    Raises:
        ConfigError: the run id is taken, a template variable is not a column, or the output folder
            can't be written.
        ManifestError: a row can't be used, ids are not unique, or there is no row.
        RunAtWork: a run is at work whose answers would be reused.
    """
    output = _output(plan, workers)
    refuse_beside(plan.config.name, plan.config.reuse or (), plan.config.models)
    if run_id is not None and not _RUN_ID.fullmatch(run_id):
        raise ConfigError(f"run id {run_id!r}: use letters, digits and . _ - only, 100 at most")
    directory = RunDir(output / (run_id or _new_run_id(plan.config, output)))
    if run_id and _is_taken(plan.config, output, run_id):
        place = f"{plan.config.output.rstrip('/')}/{run_id}"
        raise ConfigError(
            f"run {place} exists already; choose another --run-id, or continue it with: "
            f"omni-batch resume {place}"
        )
    disk = Disk(durable=plan.config.durability == "disk")
    try:
        _drop_abandoned(output)
        with _draft(RunDir(output, disk), directory.run_id) as draft:
            with draft.owned():
                draft.make_folders()
                record = _read_manifest(plan, draft, directory.run_id, on_rows, failed, workers)
                disk.sync_path(draft.items)
                if run_id is None:  # another one of this second may have taken the name meanwhile
                    free = _free_id(directory.run_id, plan.config, output)
                    directory = RunDir(output / free)
                    record = msgspec.structs.replace(record, run_id=directory.run_id)
                write_record(draft.record, vouched(draft, record), disk)
            disk.publish(draft.root, directory.root)
    except (OSError, StorageError) as exc:
        raise ConfigError(f"output {output} can't be written: {reason_of(exc)}") from exc
    return directory


def _output(plan: Plan, workers: int) -> Path:
    """The folder of runs on this machine; a store is known to take them."""
    output = plan.config.output
    if workers > 1:
        refuse_sharing(plan)
    if is_store(output):
        refuse_unwritable(output, plan.store_settings)
        if plan.config.budget.month is not None:
            runs_below(output)  # what other machines have spent
    return made_runs_folder(output)


@contextmanager
def _draft(output: RunDir, run_id: str) -> Iterator[RunDir]:
    """A hidden run directory, which gets its name in the end, and else goes."""
    # A name of its own: two runs may be begun in the same second.
    draft = RunDir(output.root / f".{run_id}.{secrets.token_hex(8)}.preparing", output.disk)
    draft.disk.make_folders(draft.root)
    try:
        yield draft
    finally:
        shutil.rmtree(draft.root, ignore_errors=True)


def _drop_abandoned(output: Path) -> None:
    """Remove drafts whose process died: no lock of theirs is held."""
    for folder in output.glob(".*.preparing"):
        with suppress(OSError, StorageError, ConfigError):
            age_s = time.time() - folder.lstat().st_mtime
            if age_s > _ABANDONED_AFTER_S and not folder.is_symlink():
                with RunDir(folder).owned():
                    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def dropped_unless_begun(directory: RunDir) -> Iterator[None]:
    """Work on a run that was just prepared: if it is refused or given up before it begins, it goes.

    Its name is free again then.
    """
    try:
        yield
    except (ConfigError, KeyboardInterrupt, CancelledError):
        with suppress(OSError, StorageError, ConfigError), directory.owned():
            if read_record(directory.record).state == "prepared":
                shutil.rmtree(directory.root, ignore_errors=True)
        raise


def change_run(directory: RunDir, overrides: Iterable[str], *, trust: bool = False) -> None:
    """Change how an unfinished run goes on; what decides its answers stays the same.

    Args:
        overrides: `a.b=value` pairs, such as `budget.max_cost=20`.
        trust: consent to a run that somebody else prepared; it is known from then on.

    Raises:
        ConfigError: it is finished and whole, or a key or value is wrong or would change the
            answers.
        RunAtWork: another run is at work whose answers it would reuse.
        UntrustedRun: somebody else prepared it, and there is no consent.
    """
    with owned_alone(directory) as record:
        if not trust:
            require_known(directory, record)
        refuse_other_manifest(directory, record)
        record = _unfinished(directory, record)
        changed = changed_config(record, overrides)
        endpoints = carry_over(record, changed)
        record = msgspec.structs.replace(record, config=changed, endpoints=endpoints)
        disk = Disk(durable=changed["durability"] == "disk")
        write_record(directory.record, vouched(directory, record), disk)


def _unfinished(directory: RunDir, record: RunRecord) -> RunRecord:
    """The record of a run that has something left to do."""
    if record.state != "finished":
        return record
    lack = shortage_of_files(directory, record)
    if lack is None:
        raise ConfigError(f"run {shown(directory.root)} is finished; there is nothing to resume")
    return msgspec.structs.replace(record, state="stopped", reason=lack, finished_at=None)


def changed_config(record: RunRecord, overrides: Iterable[str]) -> dict[str, Any]:
    """A run's configuration with `a.b=value` pairs put in.

    Raises:
        ConfigError: a wrong key or value, or one that would change the answers.
    """
    wanted = parse_config(override_tree(record.config, overrides), "--set")
    plan = make_plan(wanted, Path(record.base_folder), needs_key=False)
    changed = _as_kept(plan)
    for key in changed:
        before, now = record.config.get(key, changed[key]), changed[key]
        if _deciding(before) != _deciding(now) and key not in _CHANGEABLE:
            own = (f"endpoint.{name}" for name in _CHANGEABLE_OF_ENDPOINT)
            raise ConfigError(
                f"--set {key}: this key can't change after a run is prepared; "
                f"resume and retry accept {', '.join((*_CHANGEABLE, *own))}"
            )
    return changed


def _deciding(value: Any) -> Any:
    """A value of the configuration without what of an endpoint may change."""
    if isinstance(value, list | tuple):
        return [_deciding(inner) for inner in value]
    if isinstance(value, dict) and value.keys() >= set(_CHANGEABLE_OF_ENDPOINT):
        return {name: own for name, own in value.items() if name not in _CHANGEABLE_OF_ENDPOINT}
    return value


def asks_the_same(record: RunRecord, plan: Plan) -> bool:
    """Whether a run is what `plan` would make: the same configuration, over the same folder."""
    kept = msgspec.json.decode(msgspec.json.encode(_as_kept(plan)))
    return (record.config, record.base_folder) == (kept, str(plan.base_folder.resolve()))


def _read_manifest(
    plan: Plan,
    draft: RunDir,
    run_id: str,
    on_rows: Callable[[int], None],
    failed: Collection[str] | None,
    workers: int,
) -> RunRecord:
    checked = CheckedItems(plan)
    items, shard_rows = _write_items(plan, draft.items, _told(checked, on_rows))
    failed_before = None if failed is None else how_many(draft.items, failed)
    if failed and failed_before:
        as_read = draft.items.with_name("as-read.parquet")
        draft.items.rename(as_read)
        items, shard_rows = _write_items(plan, draft.items, failed_first(as_read, failed))
        as_read.unlink()
    doubts = (*plan.doubts, *checked.doubts(), *_for_nights(plan.config, failed))
    return RunRecord(
        run_id=run_id,
        state="prepared",
        items=items,
        shard_size=choose_shard_size(items, plan.config.shard_size, shard_rows, workers),
        created_at=datetime.now(UTC),
        warnings=tuple(map(str, doubts)),
        failed_before=failed_before,
        base_folder=str(plan.base_folder.resolve()),
        endpoints=load_learned(plan, draft.root.parent),
        annotation_schema=plan.annotation.json_schema if plan.annotation else None,
        config=_as_kept(plan),
        versions=_versions(plan),
    )


def _write_items(plan: Plan, path: Path, items: Iterable[Item]) -> tuple[int, int]:
    """Write items.parquet; the number of items, and of rows of a shard that fits in memory."""
    with ItemsWriter(path, times=plan.times) as writer:
        for item in items:
            writer.add(item)
        return writer.close(), writer.shard_rows


def _told(items: Iterable[Item], on_rows: Callable[[int], None]) -> Iterator[Item]:
    for item in items:
        yield item
        if item.row_number % _TELL_EVERY_ROWS == 0:
            on_rows(item.row_number)


def _for_nights(config: Config, failed: Collection[str] | None) -> Iterator[Doubt]:
    """Keys that this run does not heed."""
    set_ = {"fail_above": config.fail_above, "notify": config.notify}
    names = [name for name, value in set_.items() if value is not None]
    if names and failed is None:
        yield Doubt(
            "nights-only", f"{' and '.join(names)}: heeded by omni-batch nightly and schedule only"
        )


def _as_kept(plan: Plan) -> dict[str, Any]:
    """For run.json: without secrets, and such that a run goes on from any folder.

    A manifest behind a signed URL has been read, and is not read again.
    """
    config = plan.config
    tree = config.model_dump(mode="json")
    if plan.annotation is not None and plan.annotation.model is None:
        tree["annotation"]["json_schema"] = plan.annotation.json_schema
    path = config.manifest.path  # of a store: a name to the letter, and no secret
    tree["manifest"]["path"] = path if is_store(path) else redacted(path)
    if config.notify and config.notify.url:
        tree["notify"] = host_of(config.notify.url)  # its path may be a secret as well
    tree["catalogue"] = config.catalogue and str(Path(config.catalogue).absolute())
    here = escape(str(Path.cwd()))
    tree["reuse"] = config.reuse and [
        pattern if is_store(pattern) else str(Path(here, pattern)) for pattern in config.reuse
    ]
    return tree


def _new_run_id(config: Config, output: Path) -> str:
    return _free_id(f"{config.name}-{datetime.now():%Y%m%d-%H%M%S}", config, output)


def _free_id(stamp: str, config: Config, output: Path) -> str:
    candidates = chain([stamp], (f"{stamp}-{number}" for number in count(2)))
    return next(name for name in candidates if not _is_taken(config, output, name))


def _is_taken(config: Config, output: Path, run_id: str) -> bool:
    return (output / run_id).exists() or (
        is_store(config.output) and is_taken(config.output, run_id)
    )


def _versions(plan: Plan) -> dict[str, str]:
    ours = {"omni_batch": __version__, "python": platform.python_version()}
    libraries = {name: version(name) for name in ("httpx", "aiohttp", "pyarrow", "prefect")}
    return {**ours, "catalogue": plan.catalogue.date, **libraries}
